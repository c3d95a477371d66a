"""Requesters with an account: the reference and the indexes, without holding up whoever writes meanwhile."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REFERENCE = "fk_tickets_org_id_requester_id_people"
BY_REQUESTER = "ix_tickets_org_id_requester_id_created_at_number"
BY_RECIPIENT = "ix_deliveries_org_id_recipient"


def upgrade() -> None:
    # Each step may be repeated, should a later one break off. To check the whole table lets others write meanwhile.
    op.drop_constraint(REFERENCE, "tickets", if_exists=True)
    op.create_foreign_key(
        REFERENCE, "tickets", "people", ["org_id", "requester_id"], ["org_id", "id"], postgresql_not_valid=True
    )
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE tickets VALIDATE CONSTRAINT {REFERENCE}")
        # A build that was broken off leaves an index that is of no use and in the way.
        op.drop_index(BY_REQUESTER, "tickets", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            BY_REQUESTER,
            "tickets",
            ["org_id", "requester_id", "created_at", "number"],
            postgresql_where=sa.text("requester_id IS NOT NULL"),
            postgresql_concurrently=True,
        )
        op.drop_index(BY_RECIPIENT, "deliveries", if_exists=True, postgresql_concurrently=True)
        op.create_index(BY_RECIPIENT, "deliveries", ["org_id", "recipient"], postgresql_concurrently=True)


def downgrade() -> None:
    op.drop_index(BY_RECIPIENT, "deliveries")
    op.drop_index(BY_REQUESTER, "tickets")
    op.drop_constraint(REFERENCE, "tickets")

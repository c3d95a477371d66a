"""Whose account a mail was written to, so that erasure finds it by another address, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OF_PERSON = "ix_deliveries_of_person"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("person_id", sa.Uuid()), if_not_exists=True)
    with op.get_context().autocommit_block():
        # A build that was broken off leaves an index that is of no use and in the way.
        op.drop_index(OF_PERSON, "deliveries", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            OF_PERSON,
            "deliveries",
            ["org_id", "person_id"],
            postgresql_where=sa.text("person_id IS NOT NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index(OF_PERSON, "deliveries")
    op.drop_column("deliveries", "person_id")

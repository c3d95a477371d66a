"""Add the channel of tickets. Versions that do not know it leave it to the default."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "expand"
down_revision = "head"  # replaced by the head revision of this version
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tickets", sa.Column("channel", sa.Text(), server_default=sa.text("'UNKNOWN'"), nullable=False))
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_tickets_org_id_channel", "tickets", ["org_id", "channel"], unique=False, postgresql_concurrently=True
        )


def downgrade() -> None:
    op.drop_index("ix_tickets_org_id_channel", table_name="tickets")
    op.drop_column("tickets", "channel")

"""Add lanes and urgency to timers, so that the worker can claim urgent deliveries first and pass over full lanes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("timers", sa.Column("lane", sa.BigInteger(), nullable=True))
    op.add_column("timers", sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_timers_deliver_urgent",
            "timers",
            ["org_id", "due_at"],
            unique=False,
            postgresql_where=sa.text("kind = 'DELIVER' AND urgent"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index("ix_timers_deliver_urgent", table_name="timers")
    op.drop_column("timers", "urgent")
    op.drop_column("timers", "lane")

"""Remove the default channel of tickets, on which only versions depend that do not know the column."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "contract"
down_revision = "expand"
branch_labels = None
depends_on = None
oldest_supported = "expand"  # its version writes the channel


def upgrade() -> None:
    op.alter_column("tickets", "channel", server_default=None)


def downgrade() -> None:
    op.alter_column("tickets", "channel", server_default=sa.text("'UNKNOWN'"))

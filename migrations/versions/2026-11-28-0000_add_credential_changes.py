"""Add the changes of credentials, which the web processes read to know what they may cache.

Earlier versions do not record their changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
oldest_supported = "0003"


def upgrade() -> None:
    op.create_table(
        "credential_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            server_default=sa.text("(pg_current_xact_id())::text::bigint"),
            nullable=False,
        ),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential_changes")),
    )
    op.create_index("ix_credential_changes_transaction_id", "credential_changes", ["transaction_id"])


def downgrade() -> None:
    op.drop_table("credential_changes")

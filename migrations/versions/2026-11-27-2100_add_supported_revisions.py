"""Add the list of versions that work with the schema, so that they can serve while a newer version is rolled out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "supported_revisions",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_supported_revisions")),
    )


def downgrade() -> None:
    op.drop_table("supported_revisions")

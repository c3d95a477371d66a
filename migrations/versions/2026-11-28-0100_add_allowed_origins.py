"""Add the origins whose browsers may call the API, with an index that finds the organisations of an origin."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organisations", sa.Column("app_origin", sa.Text(), nullable=True))
    op.add_column(
        "organisations",
        sa.Column("allowed_origins", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.execute("UPDATE organisations SET app_origin = substring(app_url from '^[a-z]+://[^/]+') WHERE app_url <> ''")
    op.create_index("ix_organisations_app_origin", "organisations", ["app_origin"], unique=False)
    op.create_index(
        "ix_organisations_allowed_origins", "organisations", ["allowed_origins"], unique=False, postgresql_using="gin"
    )


def downgrade() -> None:
    op.drop_index("ix_organisations_allowed_origins", table_name="organisations", postgresql_using="gin")
    op.drop_index("ix_organisations_app_origin", table_name="organisations")
    op.drop_column("organisations", "allowed_origins")
    op.drop_column("organisations", "app_origin")

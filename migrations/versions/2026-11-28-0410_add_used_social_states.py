"""Add the states of social sign-ins that were used, so that a callback counts once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.core.database.citus import distribute

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "used_social_states",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("state_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "state_hash", name=op.f("pk_used_social_states")),
    )
    distribute(op.get_bind(), "used_social_states")
    op.create_index("ix_used_social_states_org_id_expires_at", "used_social_states", ["org_id", "expires_at"])
    op.execute("ALTER TABLE used_social_states ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE used_social_states FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY used_social_states_of_the_organisation ON used_social_states "
        "USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)"
    )


def downgrade() -> None:
    op.drop_table("used_social_states")

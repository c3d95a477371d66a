"""Whom a mail was written to and whom it names, so that erasure finds it whatever their address was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = {"person_id": "ix_deliveries_of_person", "author_id": "ix_deliveries_of_author"}


def upgrade() -> None:
    for column in INDEXES:
        op.add_column("deliveries", sa.Column(column, sa.Uuid()), if_not_exists=True)
    with op.get_context().autocommit_block():
        for column, name in INDEXES.items():
            # A build that was broken off leaves an index that is of no use and in the way.
            op.drop_index(name, "deliveries", if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name,
                "deliveries",
                ["org_id", column],
                postgresql_where=sa.text(f"{column} IS NOT NULL"),
                postgresql_concurrently=True,
            )


def downgrade() -> None:
    for column, name in INDEXES.items():
        op.drop_index(name, "deliveries")
        op.drop_column("deliveries", column)

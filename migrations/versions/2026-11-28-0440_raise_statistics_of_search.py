"""Keep statistics of more of the common words of the search index, for deployments with many organisations."""

from __future__ import annotations

from alembic import op

from app.core.database.citus import has_citus

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COLUMNS = ("lexemes", "replies")
# PostgreSQL keeps ten times as many words. Its default is 100.
TARGET, DEFAULT = 500, -1


def upgrade() -> None:
    set_statistics(TARGET)


def downgrade() -> None:
    set_statistics(DEFAULT)


def set_statistics(target: int) -> None:
    """Set the target of the next ANALYZE. Citus cannot, and keeps the statistics on its workers."""
    if not has_citus(op.get_bind()):
        for column in COLUMNS:
            op.execute(f"ALTER TABLE ticket_search ALTER COLUMN {column} SET STATISTICS {target}")

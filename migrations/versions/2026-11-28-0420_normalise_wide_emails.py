"""Store e-mail addresses with full-width and half-width characters in the form in which they are looked up now."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("users", "credentials", "requesters")


def upgrade() -> None:
    connection = op.get_bind()
    for org_id in connection.scalars(sa.text("SELECT id FROM organisations ORDER BY id")).all():
        connection.execute(sa.text(f"SET LOCAL app.org_id = '{org_id}'"))  # its rows are protected
        for table in TABLES:
            connection.execute(sa.text(normalise(table)), {"org_id": org_id})
    connection.execute(sa.text("SET LOCAL app.org_id = ''"))


def normalise(table: str) -> str:
    """Write the statement. An address whose usual form another row of the organisation has stays as it is."""
    return f"""
        UPDATE {table} AS t SET email = normalize(email, NFKC)
        WHERE t.org_id = :org_id AND t.email ~ '[\uff01-\uffee]' AND NOT EXISTS (
            SELECT 1 FROM {table} AS o WHERE o.org_id = :org_id AND o.email = normalize(t.email, NFKC)
        )
    """  # noqa: S608 - constants


def downgrade() -> None:
    """Leave the addresses: the previous version finds them in this form, too."""

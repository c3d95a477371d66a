"""Store e-mail addresses with full-width and half-width characters in the form in which they are looked up now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import IntegrityError

from app.core.email_addresses import normalise_email, normalise_requester_email

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# The tables in which an address becomes the usual one at the same time, and the check of that address.
GROUPS = ((("users", "credentials"), normalise_email), (("requesters",), normalise_requester_email))


def upgrade() -> None:
    connection = op.get_bind()
    for org_id in connection.scalars(sa.text("SELECT id FROM organisations ORDER BY id")).all():
        connection.execute(sa.text(f"SET LOCAL app.org_id = '{org_id}'"))  # its rows are protected
        for tables, normalise in GROUPS:
            for email in connection.scalars(sa.text(find_wide(tables[0])), {"org_id": org_id}).all():
                change(connection, org_id, tables, email, normalise)
    connection.execute(sa.text("SET LOCAL app.org_id = ''"))


def change(
    connection: sa.Connection, org_id: UUID, tables: Sequence[str], email: str, normalise: Callable[[str], str]
) -> None:
    """Store an address in its usual form, unless that is no address, or another row of the organisation has it."""
    try:
        values = {"org_id": org_id, "email": email, "usual": normalise(email)}
    except ValueError:  # an earlier version took a full-width comma or bracket for a part of the address
        return
    taken = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE org_id = :org_id AND email = :usual" for table in tables)  # noqa: S608 - constants
    if connection.execute(sa.text(taken), values).first() is not None:
        return
    # A process that still serves may write the usual form at this moment.
    with suppress(IntegrityError), connection.begin_nested():
        for table in tables:
            set_email = f"UPDATE {table} SET email = :usual WHERE org_id = :org_id AND email = :email"  # noqa: S608 - constants
            connection.execute(sa.text(set_email), values)


def find_wide(table: str) -> str:
    """Write the query that finds the addresses with full-width and half-width characters."""
    wide = "[\uff01-\uffee]"
    return f"SELECT DISTINCT email FROM {table} WHERE org_id = :org_id AND email ~ '{wide}' ORDER BY email"  # noqa: S608 - constants


def downgrade() -> None:
    """Leave the addresses: the previous version finds them in this form, too."""

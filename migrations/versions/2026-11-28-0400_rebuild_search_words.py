"""Rebuild the search words of all tickets, users and requesters by the present rules.

The worker does it on timers, in batches, newest first. Until then, rows are found by their former words. Their kinds are
unknown to the previous version, so that its workers leave them alone. What its processes still write has former words.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = ("INDEX_TICKET_WORDS", "INDEX_USER_WORDS", "INDEX_REQUESTER_WORDS")
FORMER_KIND = "INDEX_TICKETS"
ORGANISATIONS_PER_STATEMENT = 1000


def upgrade() -> None:
    op.get_bind().execute(sa.text("DELETE FROM timers WHERE kind = :kind"), {"kind": FORMER_KIND})
    set_timers(KINDS)


def downgrade() -> None:
    op.get_bind().execute(sa.text("DELETE FROM timers WHERE kind = ANY(:kinds)"), {"kinds": list(KINDS)})
    set_timers([FORMER_KIND])


def set_timers(kinds: tuple[str, ...] | list[str]) -> None:
    """Set a timer of each kind on each organisation, due now."""
    connection = op.get_bind()
    ids = connection.scalars(sa.text("SELECT id FROM organisations ORDER BY id")).all()
    statement = sa.text(
        "INSERT INTO timers (org_id, subject_id, kind, due_at) SELECT org_id, org_id, kind, 'epoch' "
        "FROM unnest(CAST(:ids AS uuid[])) AS org_id, unnest(CAST(:kinds AS text[])) AS kind ON CONFLICT DO NOTHING"
    )
    for start in range(0, len(ids), ORGANISATIONS_PER_STATEMENT):
        connection.execute(statement, {"ids": ids[start : start + ORGANISATIONS_PER_STATEMENT], "kinds": list(kinds)})

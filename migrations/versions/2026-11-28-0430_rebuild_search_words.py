"""Rebuild the search words of all tickets, users and requesters by the present rules.

The worker does it on timers, in batches, newest first. Until then, rows are found by their former words. The timers'
kinds are unknown to the previous version, so that its workers leave them alone. What its processes still write has the
former words.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KINDS = ("INDEX_TICKET_WORDS", "INDEX_USER_WORDS", "INDEX_REQUESTER_WORDS")
FORMER_KINDS = ("INDEX_TICKETS",)
ORGANISATIONS_PER_BATCH = 1000


def upgrade() -> None:
    replace_timers(FORMER_KINDS, KINDS)


def downgrade() -> None:
    replace_timers(KINDS, FORMER_KINDS)


def replace_timers(former: Sequence[str], present: Sequence[str]) -> None:
    """Delete each organisation's timers of some kinds, and set one of each other kind, due now."""
    connection = op.get_bind()
    delete = sa.text("DELETE FROM timers WHERE org_id = :org_id AND kind = :kind")
    insert = sa.text(
        "INSERT INTO timers (org_id, subject_id, kind, due_at) VALUES (:org_id, :org_id, :kind, 'epoch') "
        "ON CONFLICT DO NOTHING"
    )
    ids = connection.scalars(sa.text("SELECT id FROM organisations ORDER BY id")).all()
    for start in range(0, len(ids), ORGANISATIONS_PER_BATCH):
        for statement, kinds in ((delete, former), (insert, present)):
            batch = ids[start : start + ORGANISATIONS_PER_BATCH]
            connection.execute(statement, [{"org_id": one, "kind": kind} for one in batch for kind in kinds])

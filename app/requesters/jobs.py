"""Rebuild the search words of requesters, after the rules of words have changed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.timers import Due
from app.requesters import service
from app.requesters.models import Requester

INDEX_REQUESTERS = "INDEX_REQUESTER_WORDS"  # the kind of the timer
REQUESTERS_PER_BATCH = 500


async def resume_indexing_requesters(
    db: AsyncSession, org_id: UUID, due: Sequence[Due], *, limit: int = REQUESTERS_PER_BATCH
) -> Sequence[Due]:
    """Index a batch of requesters on the timer `INDEX_REQUESTERS`, newest first.

    If the timer's subject is the organisation, start with the newest requester. If it is a requester, start with the
    one before. Set a timer on the last requester of the batch if there may be more.
    """
    timer = due[0]  # further timers stay due
    statement = select(Requester.id).where(Requester.org_id == org_id)
    if timer.subject_id != org_id:
        statement = statement.where(Requester.id < timer.subject_id)
    ids = (await db.scalars(statement.order_by(Requester.id.desc()).limit(limit))).all()
    await service.store_words_again(db, org_id, ids)
    fired = await timers.delete_due(db, org_id, [timer])
    if fired and len(ids) == limit:
        await timers.set_timers(db, org_id, ids[-1], {INDEX_REQUESTERS: real_now()})
    return fired

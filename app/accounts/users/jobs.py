"""Rebuild the search words of users, after the rules of words have changed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.creation import store_words
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.timers import Due

INDEX_USERS = "INDEX_USER_WORDS"  # the kind of the timer
USERS_PER_BATCH = 100


async def resume_indexing_users(
    db: AsyncSession, org_id: UUID, due: Sequence[Due], *, limit: int = USERS_PER_BATCH
) -> Sequence[Due]:
    """Index a batch of users on the timer `INDEX_USERS`, newest first.

    If the timer's subject is the organisation, start with the newest user. If it is a user, start with the one before.
    Set a timer on the last user of the batch if there may be more.
    """
    timer = due[0]  # further timers stay due
    statement = select(User).where(User.org_id == org_id, User.status != AccountStatus.ERASED)
    if timer.subject_id != org_id:
        statement = statement.where(User.id < timer.subject_id)
    # A change or an erasure, which writes words too, waits.
    ids = (await db.scalars(statement.with_only_columns(User.id).order_by(User.id.desc()).limit(limit))).all()
    locked = select(User).where(User.org_id == org_id, User.id.in_(ids), User.status != AccountStatus.ERASED)
    for user in await db.scalars(locked.order_by(User.id).with_for_update(key_share=True)):
        await store_words(db, user)
    fired = await timers.delete_due(db, org_id, [timer])
    if fired and len(ids) == limit:
        await timers.set_timers(db, org_id, ids[-1], {INDEX_USERS: real_now()})
    return fired

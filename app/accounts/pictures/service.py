"""Setting one's picture, and taking it away."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller
from app.accounts.pictures.models import Picture
from app.accounts.profiles import service as profile
from app.accounts.users.events import PersonUpdated
from app.accounts.users.models import Person
from app.core.clock import real_now
from app.core.outbox.events import record


async def set_picture(db: AsyncSession, caller: Caller, image: bytes) -> datetime:
    """Have this (WebP) as the caller's picture; returns since when."""
    person = await profile.lock(db, caller)
    await _remove(db, person)
    db.add(Picture(org_id=person.org_id, person_id=person.id, image=image))
    person.picture_at = now = real_now()
    _record(db, caller)
    return now


async def remove_picture(db: AsyncSession, caller: Caller) -> None:
    """Have none any more."""
    person = await profile.lock(db, caller)
    if person.picture_at is not None:
        await _remove(db, person)
        person.picture_at = None
        _record(db, caller)


async def _remove(db: AsyncSession, person: Person) -> None:
    await db.execute(delete(Picture).where(Picture.org_id == person.org_id, Picture.person_id == person.id))


def _record(db: AsyncSession, caller: Caller) -> None:
    record(db, PersonUpdated(at=caller.now, actor=caller.actor, person_id=caller.somebody.id, fields=["picture"]))

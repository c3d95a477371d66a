"""Record that a user becomes available for new tickets, or unavailable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.events import UserBecameAvailable, UserBecameUnavailable
from app.accounts.users.models import User
from app.core.outbox.events import Actor, record


@contextmanager
def recording_availability(db: AsyncSession, user: User, *, at: datetime, actor: Actor) -> Iterator[None]:
    """Record an event if the block starts or stops the assignment of new tickets to the user.

    Records nothing if the user is no longer assignable: the event of the suspension, or of the changed role or
    permissions, implies it.
    """
    received_new_tickets = user.receives_new_tickets
    yield
    if user.receives_new_tickets and not received_new_tickets:
        record(db, UserBecameAvailable(at=at, actor=actor, user_id=user.id))
    elif received_new_tickets and not user.receives_new_tickets and user.is_assignable:
        record(db, UserBecameUnavailable(at=at, actor=actor, user_id=user.id))

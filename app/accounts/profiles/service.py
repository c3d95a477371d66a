"""Change the caller's own profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import MISSING
from pydantic.alias_generators import to_camel
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.users import queries
from app.accounts.users.availability import recording_availability
from app.accounts.users.creation import store_words
from app.accounts.users.events import UserUpdated
from app.accounts.users.models import User
from app.core.changes import Changes
from app.core.outbox.events import record


@dataclass(frozen=True, kw_only=True)
class ProfileChanges(Changes):
    """New values for fields of the user's own profile."""

    first_name: str | MISSING = MISSING
    last_name: str | MISSING = MISSING
    bio: str | MISSING | None = MISSING
    timezone: str | MISSING | None = MISSING
    locale: str | MISSING | None = MISSING
    available: bool | MISSING = MISSING


async def change(
    db: AsyncSession,
    caller: UserCaller,
    changes: ProfileChanges,
    wanted_mails: Mapping[MailKind, bool],
    check_unchanged: Callable[[User], None],
) -> User:
    """Change the caller's profile. Waiting tickets are assigned to a user who becomes available.

    Args:
        wanted_mails: for each kind of mail to change, whether to send it.
        check_unchanged: called with the user before the change; refuses values of fields that cannot be changed.

    Raises:
        InvalidToken: see `lock_caller`.
        CustomerNotAvailable
        BadInput: by `check_unchanged`.
    """
    user = await queries.lock_caller(db, caller)
    check_unchanged(user)
    changed_values = changes.values_differing_from(user)
    available = changed_values.pop("available", None)
    with recording_availability(db, user, at=caller.now, actor=caller.actor):
        if available is not None:
            user.set_available(available)
    for name, value in changed_values.items():
        setattr(user, name, value)
    if {"first_name", "last_name"} & changed_values.keys():
        await store_words(db, user)
    fields = [to_camel(name) for name in sorted(changed_values)]
    if _update_muted(user, wanted_mails):
        fields.append("notifications")
    if fields:
        record(db, UserUpdated(at=caller.now, actor=caller.actor, user_id=user.id, fields=fields))
    return user


def _update_muted(user: User, wanted_mails: Mapping[MailKind, bool]) -> bool:
    """Store which mails the user wants; return whether anything changed."""
    unwanted = {kind for kind, is_wanted in wanted_mails.items() if not is_wanted}
    muted = sorted((set(user.muted) - wanted_mails.keys()) | unwanted)
    if muted == sorted(user.muted):
        return False
    user.muted = muted
    return True

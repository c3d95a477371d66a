"""What somebody says of themselves: reading and changing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from pydantic.alias_generators import to_camel
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.access.permissions import RoleKind
from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.users import creation as service
from app.accounts.users import queries
from app.accounts.users.events import UserBecameAvailable, UserBecameUnavailable, UserUpdated
from app.accounts.users.models import User
from app.accounts.users.queries import UserNotFound
from app.accounts.users.rules import AccountStatus
from app.core.errors import BadInput, FieldError
from app.core.outbox.events import record
from app.core.security.access_tokens import InvalidToken


class ProfileChanges(TypedDict, total=False):
    """The fields of the user's own profile to change."""

    first_name: str
    last_name: str
    bio: str | None
    timezone: str | None
    locale: str | None
    available: bool


class CustomerNotAvailable(BadInput):
    """Tickets are not assigned to customers."""

    code = "customer_not_available"
    title = "A customer cannot be available: tickets are assigned to admins and engineers."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("available", self.title)])


async def read(db: AsyncSession, caller: UserCaller) -> User:
    """The signed-in user.

    Raises:
        InvalidToken: gone within the seconds for which a token's user is remembered.
    """
    try:
        return await queries.user(db, caller.org_id, caller.user.id)
    except UserNotFound:
        raise InvalidToken from None


async def lock(db: AsyncSession, caller: UserCaller) -> User:
    """The same, locked until the transaction ends.

    Raises:
        InvalidToken: gone, or not active any more.
    """
    try:
        user = await queries.lock(db, caller.org_id, caller.user.id)
    except UserNotFound:
        raise InvalidToken from None
    if user.status != AccountStatus.ACTIVE:
        raise InvalidToken
    return user


async def change(
    db: AsyncSession, caller: UserCaller, changes: ProfileChanges, wanted_mails: Mapping[MailKind, bool]
) -> User:
    """Change some of one's own fields; who becomes available gets the tickets that were waiting.

    Args:
        wanted_mails: of some kinds, whether they are to be sent.

    Raises:
        InvalidToken: as `lock`.
        CustomerNotAvailable: a customer says whether they are.
    """
    user = await lock(db, caller)
    if changes.get("available") and user.role == RoleKind.CUSTOMER:
        raise CustomerNotAvailable
    different = sorted(name for name, value in changes.items() if getattr(user, name) != value)
    for name, value in changes.items():
        setattr(user, name, value)
    if {"first_name", "last_name"} & set(different):
        await service.index_words(db, user)
    if "available" in different and user.may_be_assigned:
        kind = UserBecameAvailable if user.available else UserBecameUnavailable
        record(db, kind(at=caller.now, actor=caller.actor, user_id=user.id))
    fields = [to_camel(name) for name in different if name != "available"]
    if _mute(user, wanted_mails):
        fields.append("notifications")
    if fields:
        record(db, UserUpdated(at=caller.now, actor=caller.actor, user_id=user.id, fields=fields))
    return user


def _mute(user: User, wanted_mails: Mapping[MailKind, bool]) -> bool:
    """Note which mails somebody wants; returns whether that is new."""
    unwanted = {kind for kind, is_wanted in wanted_mails.items() if not is_wanted}
    muted = sorted((set(user.muted) - wanted_mails.keys()) | unwanted)
    if muted == sorted(user.muted):
        return False
    user.muted = muted
    return True

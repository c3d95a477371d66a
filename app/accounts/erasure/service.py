"""Erase users: delete their personal data, and keep a row that is anonymous."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.access.credential_changes import record_credential_change
from app.accounts.pictures.models import Picture
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links.models import Link
from app.accounts.users import queries as users
from app.accounts.users.errors import EmailTaken, UserNotFound
from app.accounts.users.events import UserErased
from app.accounts.users.models import Credential, User, UserWord
from app.accounts.users.rules import ANONYMOUS_FIRST_NAME, ANONYMOUS_LAST_NAME, AccountStatus, erased_email, gives_way
from app.accounts.users.service import changing_user
from app.core.outbox.events import Actor, ReactionOnly, record
from app.organisations.queries import lock_organisation

# The tables of accounts that hold data of one user. Other domains delete their own when they react to `UserErased`.
PERSONAL_TABLES = (Credential, UserWord, Link, Picture)
_UNCONFIRMED_OWNER = (
    "A user who signed up with this e-mail, and never confirmed it, was given a staff account. If you do not know "
    "them, erase the account with DELETE /users/{id}, and try again. Otherwise ask them to confirm the address: "
    "POST /auth/email/resend mails a link."
)


async def erase(db: AsyncSession, caller: UserCaller, user_id: UUID) -> None:
    """Delete a user's personal data. The row stays, because tickets and events refer to it.

    Raises:
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `changing_user`.
    """
    async with changing_user(db, caller, user_id) as user:
        await erase_locked(db, user, at=caller.now, actor=caller.actor)


async def erase_locked(db: AsyncSession, user: User, *, at: datetime, actor: Actor) -> None:
    """Delete the personal data of a locked user, who is not the last full admin.

    Args:
        at: the organisation's time.
    """
    record(
        db,
        UserErased(
            at=at,
            actor=actor,
            user_id=user.id,
            name=ReactionOnly(user.full_name),
            email=ReactionOnly(user.email),
            email_was_verified=ReactionOnly(user.email_verified_at is not None),
        ),
    )
    for table in PERSONAL_TABLES:
        await db.execute(delete(table).where(table.org_id == user.org_id, table.user_id == user.id))
    _make_anonymous(user)


async def free_email(db: AsyncSession, org_id: UUID, email: str, *, at: datetime, actor: Actor) -> None:
    """Erase the sign-up that has an e-mail without having proved it, before an admin or a product gives it to a user.

    Otherwise an outsider could block a colleague's invitation. Only a customer and a sign-up that was not approved
    give way: an admin has trusted the others.

    Args:
        at: the organisation's time.

    Raises:
        EmailTaken: an account has the address that does not give way.
    """
    owner_id = await users.find_id_by_email(db, org_id, email)
    if owner_id is None:
        return
    await lock_organisation(db, org_id, shared=True)  # no role changes until this commits
    try:
        owner = await users.lock_user(db, org_id, owner_id)
    except UserNotFound:
        return
    if owner.email != email:
        return
    if owner.email_verified_at is not None or not await users.signed_up_on_their_own(db, owner):
        raise EmailTaken
    if not gives_way(owner.role_kind, owner.status):
        raise EmailTaken(_UNCONFIRMED_OWNER)
    await erase_locked(db, owner, at=at, actor=actor)
    record_credential_change(db, org_id, owner.id)  # it may have a session
    await db.flush()  # before the new user is inserted: SQLAlchemy would update last


def _make_anonymous(user: User) -> None:
    user.status = AccountStatus.ERASED
    user.first_name, user.last_name = ANONYMOUS_FIRST_NAME, ANONYMOUS_LAST_NAME
    user.email = erased_email(user.id)
    user.email_verified_at = user.picture_at = None
    user.bio = user.timezone = user.locale = user.status_reason = None
    user.muted = []
    user.available = user.second_factor = False
    user.assign_role(BUILT_IN[user.role_kind])
    user.set_permission_overrides(frozenset(), frozenset())

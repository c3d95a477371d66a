"""Sign users up: admins with the organisation's secret key, and users who ask for an account."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import ProductCaller
from app.access.tenant import Tenant
from app.access.user_permissions import RoleKind
from app.accounts.erasure.service import free_email
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries, rules
from app.accounts.users.creation import NewUser, add_user, build_user
from app.accounts.users.errors import EmailTaken
from app.accounts.users.events import EmailClaimed, UserSignedUp
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM, Actor, ActorType, record


async def sign_up_admin(db: AsyncSession, caller: ProductCaller, new: NewUser, password_hash: str) -> User:
    """Create an active, available admin. Waiting tickets are assigned to them when this commits.

    A sign-up that has the address, and never proved it, is erased.

    Raises:
        EmailTaken
    """
    await free_email(db, caller.org_id, new.email, at=caller.now, actor=caller.actor)
    user = build_user(caller.org_id, new, RoleKind.ADMIN, AccountStatus.ACTIVE)
    await add_user(db, user, password_hash)
    record(
        db,
        UserSignedUp(
            at=caller.now, actor=caller.actor, user_id=user.id, role=RoleKind.ADMIN, status=AccountStatus.ACTIVE
        ),
    )
    return user


async def sign_up(
    db: AsyncSession,
    tenant: Tenant,
    new: NewUser,
    role_kind: RoleKind,
    password_hash: str,
    *,
    address: str | None,
    sends_mail: bool = True,
) -> User:
    """Create an account that its future user asks for. All but customers wait for an admin's approval.

    If the e-mail is taken, nothing is created and its owner is notified. The response does not reveal this: the result
    is then a user who was not written, after the same amount of work.

    Args:
        address: the client's address, which the page of the mailed link shows to the owner of the e-mail address.
        sends_mail: false if the client has caused too many mails to the address. Its owner can request another link.
    """
    user = build_user(tenant.id, new, role_kind, rules.status_of_sign_up(role_kind))
    owner_id = await queries.find_id_by_email(db, tenant.id, new.email)
    if owner_id is not None:
        await _write_and_undo(db, tenant, new, role_kind, password_hash)
    else:
        try:
            async with db.begin_nested():
                await add_user(db, user, password_hash)
        except EmailTaken:  # by a concurrent sign-up
            owner_id = await queries.find_id_by_email(db, tenant.id, new.email)
        else:
            _announce(db, tenant, user, address, sends_mail=sends_mail)
    if owner_id is not None and sends_mail:
        record(db, EmailClaimed(at=tenant.now(), actor=SYSTEM, user_id=owner_id))
    return user


def _announce(db: AsyncSession, tenant: Tenant, user: User, address: str | None, *, sends_mail: bool) -> None:
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    record(db, UserSignedUp(at=at, actor=actor, user_id=user.id, role=user.role_kind, status=user.status))
    if sends_mail:
        links.send(
            db, tenant.id, user.id, user.email, LinkPurpose.VERIFY_EMAIL, at=at, actor=actor, requested_from=address
        )


async def _write_and_undo(
    db: AsyncSession, tenant: Tenant, new: NewUser, role_kind: RoleKind, password_hash: str
) -> None:
    """Write what a sign-up writes and roll it back, so that the duration does not reveal that the e-mail is taken."""
    other = replace(new, email=f"{new_id().hex}@{new.email.rpartition('@')[2]}")
    user = build_user(tenant.id, other, role_kind, rules.status_of_sign_up(role_kind))
    async with db.begin_nested() as savepoint:
        await add_user(db, user, password_hash)
        links.issue(db, tenant.id, user.id, user.email, LinkPurpose.VERIFY_EMAIL)
        await db.flush()
        await savepoint.rollback()

"""Users: making and signing up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import ProductCaller
from app.access.permissions import RoleKind
from app.access.tenant import Tenant
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries, rules
from app.accounts.users.events import EmailClaimed, UserSignedUp
from app.accounts.users.models import Credential, User, UserWord
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.violations import raise_on_violation
from app.core.errors import BadInput, Conflict, FieldError
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM, Actor, ActorType, record
from app.core.security.passwords import derive_salt, find_password_weakness, hash_password


class EmailTaken(Conflict):
    """Somebody of this organisation has this e-mail."""

    code = "email_taken"
    title = "Somebody of this organisation has signed up with this e-mail."


class WeakPassword(BadInput):
    """The password is easily guessed."""

    code = "weak_password"
    title = "This password is easily guessed."


@dataclass(frozen=True)
class NewUser:
    """Who is to have an account."""

    first_name: str
    last_name: str
    email: str


async def hash_new_password(
    secret_key: str, tenant: Tenant, password: str, *names: str, email: str, field: str = "password"
) -> str:
    """Check a chosen password and hash it; done before the transaction, since it takes long.

    Args:
        names: of its user, and
        email: theirs, which others know as well.
        field: of the input, which a refusal names.

    Raises:
        WeakPassword: it is common, or close to a name that others know.
    """
    if weakness := find_password_weakness(password, email, tenant.name, tenant.domain, *names):
        raise WeakPassword(weakness, errors=[FieldError(field, weakness)])
    return await hash_password(password, derive_salt(secret_key, email))


def newcomer(org_id: UUID, new: NewUser, role: RoleKind, status: AccountStatus) -> User:
    """Somebody new, to be written with `add`; available for tickets only if active: others become so once they are."""
    return User(
        org_id=org_id,
        id=new_id(),
        first_name=new.first_name,
        last_name=new.last_name,
        email=new.email,
        role=role,
        status=status,
        available=role != RoleKind.CUSTOMER and status == AccountStatus.ACTIVE,
        works_on_tickets=True,  # as every built-in role lets them
        granted=[],
        denied=[],
        second_factor=False,
        created_at=real_now(),
    )


async def sign_up_admin(db: AsyncSession, caller: ProductCaller, new: NewUser, password_hash: str) -> User:
    """Make an active, available admin; the tickets that waited for one are theirs when this commits.

    Raises:
        EmailTaken: in this organisation, whatever its case.
    """
    user = newcomer(caller.org_id, new, RoleKind.ADMIN, AccountStatus.ACTIVE)
    await add(db, user, password_hash)
    record(
        db,
        UserSignedUp(
            at=caller.now, actor=caller.actor, user_id=user.id, role=RoleKind.ADMIN, status=AccountStatus.ACTIVE
        ),
    )
    return user


async def sign_up(db: AsyncSession, tenant: Tenant, new: NewUser, role: RoleKind, password_hash: str) -> User:
    """Make an account for whoever asks for one; but who is not a customer waits for an admin's approval.

    If the e-mail is taken, nothing changes but that its owner is told. Whoever asked cannot see the difference: they
    get somebody to be shown who is nobody, after as much work.
    """
    user = newcomer(tenant.id, new, role, rules.status_of_sign_up(role))
    owner_id = await queries.owner_of(db, tenant.id, new.email)
    if owner_id is not None:
        await _rehearse(db, tenant, new, role, password_hash)
    else:
        try:
            async with db.begin_nested():
                await add(db, user, password_hash)
        except EmailTaken:  # by somebody who was quicker
            owner_id = await queries.owner_of(db, tenant.id, new.email)
        else:
            _welcome(db, tenant, user)
    if owner_id is not None:
        record(db, EmailClaimed(at=tenant.now(), actor=SYSTEM, user_id=owner_id))
    return user


def _welcome(db: AsyncSession, tenant: Tenant, user: User) -> None:
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    record(
        db,
        UserSignedUp(at=at, actor=actor, user_id=user.id, role=user.role, status=user.status),
    )
    links.send(db, tenant.id, user.id, user.email, LinkPurpose.VERIFY_EMAIL, at=at, actor=actor)


async def _rehearse(db: AsyncSession, tenant: Tenant, new: NewUser, role: RoleKind, password_hash: str) -> None:
    """Write what a sign-up writes, for nobody, and undo it: the time it takes does not tell that it was not one."""
    other = replace(new, email=f"{new_id().hex}@{new.email.rpartition('@')[2]}")
    nobody = newcomer(tenant.id, other, role, rules.status_of_sign_up(role))
    async with db.begin_nested() as written:
        await add(db, nobody, password_hash)
        links.issue(db, tenant.id, nobody.id, nobody.email, LinkPurpose.VERIFY_EMAIL)
        await db.flush()
        await written.rollback()


async def add(db: AsyncSession, user: User, password_hash: str | None) -> None:
    """Write somebody new, with what they sign in with and are found by.

    Raises:
        EmailTaken: in this organisation, whatever its case.
    """
    db.add(user)
    db.add(Credential(org_id=user.org_id, user_id=user.id, email=user.email, password_hash=password_hash))
    with raise_on_violation(EmailTaken):
        await db.flush()
    await index_words(db, user)


async def index_words(db: AsyncSession, user: User) -> None:
    """Have somebody found by the words of their name and e-mail as they are now."""
    await db.execute(delete(UserWord).where(UserWord.org_id == user.org_id, UserWord.user_id == user.id))
    words = rules.words_of(user.first_name, user.last_name, user.email)
    await db.execute(
        insert(UserWord),
        [{"org_id": user.org_id, "word": word, "user_id": user.id} for word in sorted(words)],
    )

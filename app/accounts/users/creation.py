"""Create users: their row, their credential and their search words."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.tenant import Tenant
from app.access.user_permissions import RoleKind
from app.accounts.users import rules
from app.accounts.users.errors import EmailTaken, WeakPassword
from app.accounts.users.models import Credential, User, UserWord
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.violations import raise_on_violation
from app.core.ids import new_id
from app.core.security.password_hashing import derive_salt, hash_password
from app.core.security.password_strength import find_password_weakness


@dataclass(frozen=True)
class NewUser:
    """The name and the address of a user to create."""

    first_name: str
    last_name: str
    email: str


async def hash_new_password(
    secret_key: str, tenant: Tenant, password: str, *names: str, email: str, field: str = "password"
) -> str:
    """Check a chosen password and hash it. It takes a tenth of a second: call it outside of transactions.

    Args:
        names: the user's first and last name.
        email: the user's e-mail address.
        field: the field of the request that the error names.

    Raises:
        WeakPassword: the password is common, or close to the user's or the organisation's name.
        Busy
    """
    if weakness := find_password_weakness(password, email, tenant.name, tenant.domain, *names):
        raise WeakPassword.of_field(field, weakness)
    return await hash_password(password, derive_salt(secret_key, email))


def build_user(org_id: UUID, details: NewUser, role_kind: RoleKind, status: AccountStatus) -> User:
    """Return the row of a new user with a built-in role. `add_user` writes it."""
    user = User(
        org_id=org_id,
        id=new_id(),
        first_name=details.first_name,
        last_name=details.last_name,
        email=details.email,
        role_kind=role_kind,
        status=status,
        available=False,
        granted=[],
        denied=[],
        second_factor=False,
        created_at=real_now(),
    )
    user.refresh_derived_permissions()
    if status == AccountStatus.ACTIVE:
        user.activate()
    return user


async def add_user(db: AsyncSession, user: User, password_hash: str | None) -> None:
    """Write a new user with their credential and search words.

    Raises:
        EmailTaken
    """
    db.add(user)
    db.add(Credential(org_id=user.org_id, user_id=user.id, email=user.email, password_hash=password_hash))
    with raise_on_violation(EmailTaken):
        await db.flush()
    await store_words(db, user)


async def store_words(db: AsyncSession, user: User) -> None:
    """Replace a user's search words by the words of the current name and e-mail."""
    await db.execute(delete(UserWord).where(UserWord.org_id == user.org_id, UserWord.user_id == user.id))
    words = rules.search_words(user.first_name, user.last_name, user.email)
    await db.execute(
        insert(UserWord),
        [{"org_id": user.org_id, "word": word, "user_id": user.id} for word in words],
    )

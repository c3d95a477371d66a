"""Make, link and erase requesters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from sqlalchemy import (
    Text,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import (
    cast as sql_cast,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_ignore
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.accounts.users.rules import is_requesters_account
from app.core.clock import real_now
from app.core.fields import RESERVED_EMAIL_DOMAIN
from app.core.ids import new_id
from app.core.outbox.events import Actor, record
from app.requesters import rules, statements
from app.requesters.errors import ExternalIdTaken, RequesterNotFound
from app.requesters.events import RequesterErased
from app.requesters.models import Requester, RequesterWord

if TYPE_CHECKING:
    from app.core.database.pool import Driver


@dataclass(frozen=True, kw_only=True)
class RequesterDetails:
    """What is known of a requester. `None` is not known, and leaves a value as it is."""

    email: str
    name: str | None = None
    locale: str | None = None
    external_id: str | None = None

    @property
    def is_only_email(self) -> bool:
        """Whether nothing but the address is known."""
        return self.name is None and self.locale is None and self.external_id is None


# --- by address or product's id --------------------------------------------------------------------------------------


async def find_or_create(db: AsyncSession, org_id: UUID, details: RequesterDetails) -> Requester:
    """Return the requester with these details, made or updated if necessary, with the search words.

    Raises:
        ExternalIdTaken: the product's id belongs to one requester and the address to another.
    """
    driver = await _get_driver(db)
    requester_id = await match(driver, org_id, details)
    while requester_id is None:
        made = await driver.fetchrow(
            statements.INSERT, org_id, new_id(), details.email, details.name, details.locale, details.external_id,
            real_now(),
        )  # fmt: skip
        if made is None:  # another transaction was faster
            requester_id = await match(driver, org_id, details)
        else:
            requester_id = cast("UUID", made["id"])
            await driver.fetchrow(statements.LINK, org_id, requester_id)
    requester = await get_requester(db, org_id, requester_id)
    await index_words(db, [requester])
    return requester


async def match(driver: Driver, org_id: UUID, details: RequesterDetails) -> UUID | None:
    """Find the requester with the product's id, or else with the address, and update it; `None` if there is none.

    A requester with the product's id gets the address, unless it has an account: the account's address is the one.

    Raises:
        ExternalIdTaken: the product's id belongs to one requester and the address to another.
    """
    found = await driver.fetch(statements.MATCH, org_id, details.email, details.external_id)
    if not found:
        return None
    by_external_id = [row for row in found if row["external_id"] == details.external_id is not None]
    if len(found) > len(by_external_id) > 0 and by_external_id[0]["user_id"] is None:
        raise ExternalIdTaken
    row = (by_external_id or found)[0]
    email = row["email"] if row["user_id"] else details.email
    known = (row["email"], row["name"], row["locale"], row["external_id"])
    wanted = (email, details.name or row["name"], details.locale or row["locale"], details.external_id or known[3])
    if known != wanted:
        await driver.execute(statements.UPDATE, org_id, row["id"], *wanted)
        if known[:2] != wanted[:2]:
            await _replace_words(driver, org_id, row["id"], rules.search_words(wanted[1], wanted[0]))
    return cast("UUID", row["id"])


async def get_requester(db: AsyncSession, org_id: UUID, requester_id: UUID, *, locked: bool = False) -> Requester:
    """Return a requester who is not erased.

    Raises:
        RequesterNotFound
    """
    statement = select(Requester).where(
        Requester.org_id == org_id, Requester.id == requester_id, Requester.erased_at.is_(None)
    )
    if locked:
        statement = statement.with_for_update(key_share=True)
    found = await db.scalar(statement.execution_options(populate_existing=True))
    if found is None:
        raise RequesterNotFound
    return found


async def _get_driver(db: AsyncSession) -> Driver:
    """Flush the session and return its driver connection, in the same transaction."""
    await db.flush()
    connection = await (await db.connection()).get_raw_connection()
    return cast("Driver", connection.driver_connection)


async def _replace_words(driver: Driver, org_id: UUID, requester_id: UUID, words: Sequence[str]) -> None:
    await driver.execute(statements.DELETE_WORDS, org_id, requester_id)
    await driver.executemany(statements.INSERT_WORD, [(org_id, word, requester_id) for word in words])


# --- by account ------------------------------------------------------------------------------------------------------


async def set_account(db: AsyncSession, org_id: UUID, user_id: UUID) -> None:
    """Give an account the requester with its address, and its other requesters that address.

    Does nothing unless the account is active and has proved its address. The caller has locked the account.
    """
    await db.flush()
    user = (
        await db.execute(
            select(User.email, User.status, User.email_verified_at, User.first_name, User.last_name)
            .where(User.org_id == org_id, User.id == user_id)
        )
    ).one()  # fmt: skip
    if not is_requesters_account(user.status, verified=user.email_verified_at is not None):
        return
    name = f"{user.first_name} {user.last_name}".strip()
    await lock_address(db, org_id, user.email)
    owner_id = await _find_owner(db, org_id, user.email, user_id)
    conditions = and_(
        Requester.org_id == org_id,
        Requester.erased_at.is_(None),
        or_(Requester.user_id == user_id, Requester.id == owner_id) if owner_id else Requester.user_id == user_id,
    )
    # The rows that give the address up are first: of two rows with the address one owns it at any moment.
    for is_owner in (False, True):
        await db.execute(
            update(Requester)
            .where(conditions, (Requester.id == owner_id) if is_owner else (Requester.id != owner_id))
            .values(email=user.email, owns_email=is_owner, user_id=user_id, name=func.coalesce(Requester.name, name))
            .execution_options(synchronize_session=False)
        )
    await index_words(
        db, (await db.scalars(select(Requester).where(conditions).execution_options(populate_existing=True))).all()
    )


async def _find_owner(db: AsyncSession, org_id: UUID, email: str, user_id: UUID) -> UUID | None:
    """Return the requester that has the address, or else the account's first requester."""
    has_address = and_(Requester.email == email, Requester.owns_email)
    found: UUID | None = await db.scalar(
        select(Requester.id)
        .where(
            Requester.org_id == org_id, Requester.erased_at.is_(None), or_(has_address, Requester.user_id == user_id)
        )
        .order_by(has_address.desc(), Requester.owns_email.desc(), Requester.created_at, Requester.id)
        .limit(1)
    )
    return found


async def lock_address(db: AsyncSession, org_id: UUID, email: str) -> None:
    """Wait for transactions that make a requester with this address, and make later ones wait for this transaction.

    A row that is inserted and deleted again does it: the unique index lets no other transaction insert the address
    before this one has ended.
    """
    values = {"org_id": org_id, "id": new_id(), "email": email, "created_at": real_now()}
    statement = insert_or_ignore(Requester).values(**values).on_conflict_do_nothing().returning(Requester.id)
    if (made := await db.scalar(statement)) is not None:
        await db.execute(delete(Requester).where(Requester.org_id == org_id, Requester.id == made))


async def rename(db: AsyncSession, org_id: UUID, user_id: UUID, name: str) -> None:
    """Set the name of an account's requesters."""
    conditions = (Requester.org_id == org_id, Requester.user_id == user_id, Requester.erased_at.is_(None))
    requesters = (
        await db.scalars(select(Requester).where(*conditions).order_by(Requester.id).with_for_update(key_share=True))
    ).all()
    for requester in requesters:
        requester.name = name
    await index_words(db, requesters)


# --- erasure ---------------------------------------------------------------------------------------------------------


async def erase(db: AsyncSession, org_id: UUID, requester_id: UUID, *, at: datetime, actor: Actor) -> None:
    """Delete a requester's personal data. The row stays, because tickets refer to it. An account loses the requester.

    Raises:
        RequesterNotFound
    """
    requester = await get_requester(db, org_id, requester_id, locked=True)
    record(db, RequesterErased(at=at, actor=actor, requester_id=requester.id))
    await make_anonymous(db, org_id, [requester.id], at, user_id=None)


async def make_anonymous(
    db: AsyncSession, org_id: UUID, requester_ids: Sequence[UUID], at: datetime, *, user_id: UUID | None
) -> None:
    """Replace the addresses of these requesters, and delete their other personal data and search words.

    Args:
        user_id: the erased account that the requesters belong to, if any.
    """
    words = (RequesterWord.org_id == org_id, RequesterWord.requester_id.in_(requester_ids))
    await db.execute(delete(RequesterWord).where(*words))
    await db.execute(
        update(Requester)
        .where(Requester.org_id == org_id, Requester.id.in_(requester_ids), Requester.erased_at.is_(None))
        .values(
            email=func.concat("erased-", sql_cast(Requester.id, Text), f"@{RESERVED_EMAIL_DOMAIN}"),
            name=None,
            locale=None,
            external_id=None,
            user_id=user_id,
            erased_at=at,
        )
        .execution_options(synchronize_session=False)
    )


# --- search words ----------------------------------------------------------------------------------------------------


async def index_words(db: AsyncSession, requesters: Sequence[Requester]) -> None:
    """Replace the search words of requesters by the words of their current names and addresses."""
    await db.flush()
    for requester in requesters:
        conditions = (RequesterWord.org_id == requester.org_id, RequesterWord.requester_id == requester.id)
        await db.execute(delete(RequesterWord).where(*conditions))
        words = rules.search_words(requester.name, requester.email)
        values = [{"org_id": requester.org_id, "word": word, "requester_id": requester.id} for word in words]
        if values:
            await db.execute(insert(RequesterWord), values)


async def index_new_requesters(db: AsyncSession, org_id: UUID, requester_ids: Collection[UUID]) -> None:
    """Index those of these requesters that have no words yet: their first ticket does not, so that it stays fast."""
    words = select(RequesterWord).where(RequesterWord.org_id == org_id, RequesterWord.requester_id == Requester.id)
    conditions = (Requester.org_id == org_id, Requester.id.in_(requester_ids), Requester.erased_at.is_(None))
    # The lock makes a change or an erasure, which writes words too, wait.
    unindexed = select(Requester).where(*conditions, ~words.exists()).order_by(Requester.id)
    await index_words(db, (await db.scalars(unindexed.with_for_update(key_share=True))).all())

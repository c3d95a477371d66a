"""Make, link and erase requesters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    delete,
    func,
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
from app.core.email_addresses import RESERVED_EMAIL_DOMAIN
from app.core.ids import new_id
from app.core.outbox.events import Actor, record
from app.requesters import rules, statements
from app.requesters.errors import RequesterHasAccount, RequesterNotFound
from app.requesters.events import RequesterErased
from app.requesters.models import Requester, RequesterWord
from app.requesters.queries import select_merged_ids

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


# --- one requester ---------------------------------------------------------------------------------------------------


async def get_requester(db: AsyncSession, org_id: UUID, requester_id: UUID) -> Requester:
    """Return a requester who is not erased. The id of a merged requester leads to the one that it was merged into.

    Raises:
        RequesterNotFound
    """
    found = await _find(db, org_id, requester_id)
    if found is not None and found.merged_into_id is not None:
        found = await _find(db, org_id, found.merged_into_id)
    if found is None:
        raise RequesterNotFound
    return found


async def _find(db: AsyncSession, org_id: UUID, requester_id: UUID) -> Requester | None:
    conditions = (Requester.org_id == org_id, Requester.id == requester_id, Requester.erased_at.is_(None))
    found: Requester | None = await db.scalar(
        select(Requester).where(*conditions).execution_options(populate_existing=True)
    )
    return found


async def lock_requesters(db: AsyncSession, org_id: UUID, *requester_ids: UUID) -> list[Requester]:
    """Return what `get_requester` does for each id, locked with all requesters that were merged into them.

    Raises:
        RequesterNotFound
    """
    while True:
        ids = [(await get_requester(db, org_id, one)).id for one in requester_ids]
        locked = {one.id: one for one in await _lock_with_merged(db, org_id, Requester.id.in_(ids))}
        found = [locked.get(one) for one in ids]
        # None was merged or erased meanwhile.
        requesters = [one for one in found if one is not None and one.merged_into_id is None]
        if len(requesters) == len(ids):
            return requesters


async def show_in_merged(db: AsyncSession, requester: Requester) -> None:
    """Let the requesters that were merged into this one show its present details."""
    driver = await get_driver(db)
    merged = await driver.fetch(statements.UPDATE_MERGED, requester.org_id, requester.id)
    if ids := [row["id"] for row in merged]:
        rows = select(Requester).where(Requester.org_id == requester.org_id, Requester.id.in_(ids))
        await store_words(db, (await db.scalars(rows.execution_options(populate_existing=True))).all())


async def link_to_account(db: AsyncSession, requester: Requester) -> None:
    """Link a requester to the account that has proved its address, if there is one."""
    driver = await get_driver(db)
    if await driver.fetchrow(statements.LINK, requester.org_id, requester.id):
        await db.refresh(requester)


async def get_driver(db: AsyncSession) -> Driver:
    """Flush the session and return its driver connection, in the same transaction."""
    await db.flush()
    connection = await (await db.connection()).get_raw_connection()
    return cast("Driver", connection.driver_connection)


# --- by account ------------------------------------------------------------------------------------------------------


async def set_account(db: AsyncSession, org_id: UUID, user_id: UUID) -> None:
    """Give an account the requester with its address, and its other requesters that address.

    Without a requester with the address, the account's first one gets it. Does nothing unless the account is active and
    has proved its address. The caller has locked the account.
    """
    await db.flush()
    conditions = (User.org_id == org_id, User.id == user_id)
    columns = (User.email, User.status, User.email_verified_at, User.first_name, User.last_name)
    user = (await db.execute(select(*columns).where(*conditions))).one()
    if not is_requesters_account(user.status, verified=user.email_verified_at is not None):
        return
    await lock_address(db, org_id, user.email)
    locked = await _lock_with_merged(db, org_id, _has_account_or_address(user_id, user.email))
    requesters = [one for one in locked if one.user_id == user_id or (one.owns_email and one.email == user.email)]
    # At any moment only one row owns the address: the last one that is written, after the others gave theirs up.
    requesters.sort(
        key=lambda one: (one.email == user.email and one.owns_email, one.owns_email, one.merged_into_id is None),
        reverse=True,
    )
    for place, requester in reversed(list(enumerate(requesters))):
        requester.email, requester.owns_email, requester.user_id = user.email, place == 0, user_id
        requester.name = requester.name or f"{user.first_name} {user.last_name}".strip()
        if place == 0:  # the account has proved the address of an alias: it leads to no other requester any more
            requester.merged_into_id = None
        await db.flush()
    await store_words(db, requesters)
    for requester in requesters[:1]:
        await show_in_merged(db, requester)


def _has_account_or_address(user_id: UUID, email: str) -> ColumnElement[bool]:
    return or_(Requester.user_id == user_id, and_(Requester.email == email, Requester.owns_email))


async def _lock(db: AsyncSession, org_id: UUID, condition: ColumnElement[bool]) -> list[Requester]:
    """Lock the requesters that meet a condition and are not erased, in the order of their ids."""
    conditions = (Requester.org_id == org_id, Requester.erased_at.is_(None), condition)
    statement = select(Requester).where(*conditions).order_by(Requester.id).with_for_update(key_share=True)
    return list(await db.scalars(statement.execution_options(populate_existing=True)))


async def _lock_with_merged(db: AsyncSession, org_id: UUID, condition: ColumnElement[bool]) -> list[Requester]:
    """Do what `_lock` does, also with the requesters that were merged into those."""
    matching = select(Requester.id).where(Requester.org_id == org_id, condition)
    return await _lock(db, org_id, or_(condition, Requester.merged_into_id.in_(matching)))


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
    requesters = await _lock(db, org_id, Requester.user_id == user_id)
    for requester in requesters:
        requester.name = name
    await store_words(db, requesters)


async def erase_account(db: AsyncSession, org_id: UUID, user_id: UUID, proved_email: str | None, at: datetime) -> None:
    """Delete the personal data of an account's requesters.

    Args:
        proved_email: the account's address, if it had proved it. The requester with it belongs to the account, even if
            it was not linked.
    """
    await db.flush()
    condition = Requester.user_id == user_id
    if proved_email is not None:
        await lock_address(db, org_id, proved_email)
        condition = _has_account_or_address(user_id, proved_email)
    ids = [requester.id for requester in await _lock_with_merged(db, org_id, condition)]
    await make_anonymous(db, org_id, ids, at, user_id=user_id)


# --- erasure ---------------------------------------------------------------------------------------------------------


async def erase(db: AsyncSession, org_id: UUID, requester_id: UUID, *, at: datetime, actor: Actor) -> None:
    """Delete a requester's personal data. The row stays, because tickets refer to it.

    Raises:
        RequesterNotFound
        RequesterHasAccount: names and texts of the account would stay. Erasing the user erases the requester.
    """
    (requester,) = await lock_requesters(db, org_id, requester_id)
    if requester.user_id is not None:
        raise RequesterHasAccount("The requester has an account: erase the user.")
    record(db, RequesterErased(at=at, actor=actor, requester_id=requester.id))
    merged = await db.scalars(select_merged_ids(org_id, requester.id))
    await make_anonymous(db, org_id, merged.all(), at, user_id=None)


async def make_anonymous(
    db: AsyncSession, org_id: UUID, requester_ids: Sequence[UUID], at: datetime, *, user_id: UUID | None
) -> None:
    """Replace the addresses of these locked requesters, and delete their other personal data and search words.

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
            was_changed=True,
            erased_at=at,
        )
        .execution_options(synchronize_session=False)
    )


# --- search words ----------------------------------------------------------------------------------------------------


async def store_words(db: AsyncSession, requesters: Sequence[Requester]) -> None:
    """Replace the search words of an organisation's changed requesters by the words of their names and addresses."""
    await db.flush()
    if requesters:
        ids = [requester.id for requester in requesters]
        changed = update(Requester).where(Requester.org_id == requesters[0].org_id, Requester.id.in_(ids))
        await db.execute(changed.values(was_changed=True).execution_options(synchronize_session=False))
        await _replace_words(db, requesters[0].org_id, requesters)


async def store_words_again(db: AsyncSession, org_id: UUID, requester_ids: Sequence[UUID]) -> None:
    """Replace the search words of requesters that have not changed, since the rules of words have."""
    await _replace_words(db, org_id, await _lock(db, org_id, Requester.id.in_(requester_ids)))


async def index_new_requesters(db: AsyncSession, org_id: UUID, requester_ids: Collection[UUID]) -> None:
    """Index those of these requesters that have no words yet: their first ticket does not, so that it stays fast."""
    words = select(RequesterWord).where(RequesterWord.org_id == org_id, RequesterWord.requester_id == Requester.id)
    conditions = (Requester.org_id == org_id, Requester.id.in_(requester_ids), Requester.erased_at.is_(None))
    # The lock makes a change or an erasure, which writes words too, wait.
    unindexed = select(Requester).where(*conditions, ~words.exists()).order_by(Requester.id)
    await _insert_words(db, (await db.scalars(unindexed.with_for_update(key_share=True))).all())


async def _replace_words(db: AsyncSession, org_id: UUID, requesters: Sequence[Requester]) -> None:
    ids = [requester.id for requester in requesters]
    conditions = (RequesterWord.org_id == org_id, RequesterWord.requester_id.in_(ids))
    await db.execute(delete(RequesterWord).where(*conditions))
    await _insert_words(db, requesters)


async def _insert_words(db: AsyncSession, requesters: Sequence[Requester]) -> None:
    values = [
        {"org_id": requester.org_id, "word": word, "requester_id": requester.id}
        for requester in requesters
        for word in rules.search_words(requester.name, requester.email)
    ]
    if values:
        # The worker may have indexed a requester since the words were deleted.
        await db.execute(insert_or_ignore(RequesterWord).on_conflict_do_nothing(), values)

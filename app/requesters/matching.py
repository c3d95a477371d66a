"""Find the requester that a client names, by the product's own id or by the e-mail address; update or make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.ids import new_id
from app.requesters import rules, service, statements
from app.requesters.errors import ExternalIdTaken
from app.requesters.models import Requester
from app.requesters.service import RequesterDetails

if TYPE_CHECKING:
    from asyncpg import Record

    from app.core.database.pool import Driver


@dataclass(frozen=True)
class _Match:
    """The requester that was found, as it is, and as it must be."""

    id: UUID
    known: RequesterDetails
    wanted: RequesterDetails


async def find_or_create(db: AsyncSession, org_id: UUID, details: RequesterDetails) -> tuple[Requester, bool]:
    """Return the requester with these details, made or updated if necessary, and whether it was made.

    Raises:
        ExternalIdTaken: the product's id belongs to one requester and the address to another.
    """
    driver = await service.get_driver(db)
    is_new = False
    requester_id = await match(driver, org_id, details)
    while requester_id is None:
        new = await driver.fetchrow(
            statements.INSERT, org_id, new_id(), details.email, details.name, details.locale, details.external_id,
            real_now(),
        )  # fmt: skip
        if new is None:  # another transaction was faster
            requester_id = await match(driver, org_id, details)
        else:
            requester_id, is_new = new["id"], True
            await driver.fetchrow(statements.LINK, org_id, requester_id)
    await service.index_new_requesters(db, org_id, [requester_id])
    return await service.get_requester(db, org_id, requester_id), is_new


async def match(driver: Driver, org_id: UUID, details: RequesterDetails) -> UUID | None:
    """Find the requester with the product's id, or else with the address, and update it; `None` if there is none.

    Raises:
        ExternalIdTaken: the product's id belongs to one requester and the address to another.
    """
    while True:
        found = await _find(driver, org_id, details)
        if found is None:
            return None
        if found.known == found.wanted:
            return found.id
        if found.known.email != found.wanted.email and not await _reserve_address(driver, org_id, details.email):
            continue  # another transaction has made a requester with the address
        await driver.fetch(statements.LOCK, org_id, found.id)
        if await _find(driver, org_id, details) == found:  # it did not change before it was locked
            await _update(driver, org_id, found)
            return found.id


async def _find(driver: Driver, org_id: UUID, details: RequesterDetails) -> _Match | None:
    rows = await driver.fetch(statements.MATCH, org_id, details.email, details.external_id)
    return _choose(rows, details) if rows else None


def _choose(rows: Sequence[Record], details: RequesterDetails) -> _Match:
    """Choose between the requester with the product's id and the one with the address.

    The requester with the product's id gets the address, unless it has an account: the account's address is the one. An
    alias, which was merged into the requester, changes neither address nor id.

    Raises:
        ExternalIdTaken
    """
    by_external_id = next((row for row in rows if row["has_external_id"]), None)
    by_address = next((row for row in rows if row["has_address"]), None)
    row = by_external_id or rows[0]
    if by_external_id and by_address and by_external_id["id"] != by_address["id"] and row["user_id"] is None:
        raise ExternalIdTaken
    gets_address = by_address is None and not row["is_alias"] and row["user_id"] is None
    gets_external_id = by_external_id is None and not (row["is_alias"] and row["external_id"])
    return _Match(
        row["id"],
        RequesterDetails(email=row["email"], name=row["name"], locale=row["locale"], external_id=row["external_id"]),
        RequesterDetails(
            email=details.email if gets_address else row["email"],
            name=details.name or row["name"],
            locale=details.locale or row["locale"],
            external_id=(gets_external_id and details.external_id) or row["external_id"],
        ),
    )


async def _update(driver: Driver, org_id: UUID, found: _Match) -> None:
    """Update a locked requester. With another address, it belongs to the account that has proved the address."""
    known, wanted, name = found.known, found.wanted, found.wanted.name
    try:
        await driver.execute(statements.UPDATE, org_id, found.id, wanted.email, name, wanted.locale, wanted.external_id)
    except asyncpg.UniqueViolationError:  # another transaction has given the product's id to a second requester
        raise ExternalIdTaken from None
    if wanted.email != known.email and (linked := await driver.fetchrow(statements.LINK, org_id, found.id)):
        name = linked["name"]
    merged = await driver.fetch(statements.UPDATE_MERGED, org_id, found.id)
    if (wanted.email, name) != (known.email, known.name):
        words = rules.search_words(name, wanted.email)
        for requester_id in (found.id, *(row["id"] for row in merged)):
            await driver.execute(statements.DELETE_WORDS, org_id, requester_id)
            await driver.executemany(statements.INSERT_WORD, [(org_id, word, requester_id) for word in words])


async def _reserve_address(driver: Driver, org_id: UUID, email: str) -> bool:
    """Do what `service.lock_address` does; return whether no requester has the address."""
    made = await driver.fetchrow(statements.INSERT, org_id, new_id(), email, None, None, None, real_now())
    if made is not None:
        await driver.execute(statements.DELETE, org_id, made["id"])
    return made is not None

"""Looking for tickets, and for the words that they are found by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import func, select, text

from app import wiring
from app.core.outbox import relay
from app.core.outbox.models import RelayFailure
from app.tickets.search import queries, service
from app.tickets.search.models import TicketSearch
from tests.desks import JSON, Desk, SignedInUser

# So many tickets are looked at one by one for the shortest pages.
LOOKED_AT = queries.LOOKED_AT * 21


async def relayed(desk: Desk) -> None:
    """Let the worker see what has happened in this organisation."""
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)


async def opened(desk: Desk, **fields: object) -> JSON:
    """A new ticket that is found already."""
    ticket = await desk.open(**fields)
    await relayed(desk)
    return ticket


async def found(seeker: Desk | SignedInUser, q: str, **params: Any) -> list[int]:
    """The numbers of the tickets that a search lists, its first page; the total is that of the page."""
    answer = await ask(seeker, q=q, include="total", **params)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    numbers = [ticket["number"] for ticket in content["items"]]
    if content["nextCursor"] is None:
        assert content["total"] == len(numbers)
    return numbers


async def ask(seeker: Desk | SignedInUser, **params: Any) -> httpx.Response:
    """Ask for a page of tickets as somebody, or as an organisation's admin."""
    return await (seeker.admin if isinstance(seeker, Desk) else seeker).get("/tickets", params=params)


async def pages(seeker: Desk | SignedInUser, **params: Any) -> list[list[int]]:
    """The numbers on each page of a list."""
    listed, cursor = [], None
    while True:
        answer = await ask(seeker, **params, **({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        listed.append([ticket["number"] for ticket in answer.json()["items"]])
        cursor = answer.json()["nextCursor"]
        if cursor is None:
            return listed


def flat(listed: Sequence[Sequence[int]]) -> list[int]:
    """All that is on these pages."""
    return [number for page in listed for number in page]


async def entitle(desk: Desk, titles: Mapping[int, str]) -> None:
    """Give tickets other titles, past the service, and let them be found by these."""
    async with desk.database.session(desk.id) as db:
        await db.execute(
            text(
                "UPDATE tickets SET title = told.title FROM unnest(CAST(:n AS bigint[]), CAST(:t AS text[])) "
                "AS told (number, title) WHERE tickets.org_id = :org AND tickets.number = told.number"
            ),
            {"org": desk.id, "n": list(titles), "t": list(titles.values())},
        )
        ids = await db.scalars(
            text("SELECT id FROM tickets WHERE org_id = :org AND number = ANY(:n)"),
            {"org": desk.id, "n": list(titles)},
        )
        await service.index(db, desk.id, ids.all())


async def rows(desk: Desk) -> dict[UUID, tuple[int, int, int]]:
    """Of each ticket, the version whose words are kept, how many words, and how many of answers."""
    async with desk.database.session(desk.id) as db:
        kept = select(
            TicketSearch.ticket_id,
            TicketSearch.version,
            func.length(TicketSearch.lexemes),
            func.length(TicketSearch.answers),
        ).where(TicketSearch.org_id == desk.id)
        return {row[0]: (row[1], row[2], row[3]) for row in await db.execute(kept)}


async def failures(desk: Desk) -> Sequence[str]:
    """What the subscribers could not do."""
    async with desk.database.session(desk.id) as db:
        return (await db.scalars(select(RelayFailure.last_error).where(RelayFailure.org_id == desk.id))).all()

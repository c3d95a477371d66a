"""Search requests and reads of the search index for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import httpx
from sqlalchemy import func, select, text

from app import wiring
from app.core.outbox import relay
from app.core.outbox.models import RelayFailure
from app.tickets.search import queries, service
from app.tickets.search.models import TicketSearch
from tests.organisation_client import JSON, Desk, SignedInUser

# Tickets scanned one by one for the shortest pages.
SCANNED_TICKETS = queries.SCAN_FACTOR * 21


async def relay_events(desk: Desk) -> None:
    """Relay the organisation's events to all subscribers, as the worker does."""
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)


async def open_indexed(desk: Desk, **fields: object) -> JSON:
    """Open a ticket and index it."""
    ticket = await desk.open(**fields)
    await relay_events(desk)
    return ticket


async def search(caller: Desk | SignedInUser, q: str, **params: Any) -> list[int]:
    """Return the ticket numbers on the first page of a search, and check the total if it is the only page."""
    answer = await list_tickets(caller, q=q, include="total", **params)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    numbers = [ticket["number"] for ticket in content["items"]]
    if content["nextCursor"] is None:
        assert content["total"] == len(numbers)
    return numbers


async def list_tickets(caller: Desk | SignedInUser, **params: Any) -> httpx.Response:
    """Request a page of tickets as a user, or as the admin of an organisation."""
    return await (caller.admin if isinstance(caller, Desk) else caller).get("/tickets", params=params)


async def list_pages(caller: Desk | SignedInUser, **params: Any) -> list[list[int]]:
    """Return the ticket numbers on each page of a list."""
    listed, cursor = [], None
    while True:
        answer = await list_tickets(caller, **params, **({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        listed.append([ticket["number"] for ticket in answer.json()["items"]])
        cursor = answer.json()["nextCursor"]
        if cursor is None:
            return listed


def flatten(listed: Sequence[Sequence[int]]) -> list[int]:
    """Return the ticket numbers of all pages."""
    return [number for page in listed for number in page]


async def set_titles(desk: Desk, titles: Mapping[int, str]) -> None:
    """Set titles of tickets without the service, and index them."""
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


class SearchRow(NamedTuple):
    """The version of a ticket that is indexed, and the numbers of lexemes of the ticket and of its replies."""

    version: int
    ticket_lexemes: int
    reply_lexemes: int


async def read_search_rows(desk: Desk) -> dict[UUID, SearchRow]:
    """Return the row of each indexed ticket."""
    async with desk.database.session(desk.id) as db:
        kept = select(
            TicketSearch.ticket_id,
            TicketSearch.version,
            func.length(TicketSearch.lexemes),
            func.length(TicketSearch.replies),
        ).where(TicketSearch.org_id == desk.id)
        return {row[0]: SearchRow(row[1], row[2], row[3]) for row in await db.execute(kept)}


async def relay_failures(desk: Desk) -> Sequence[str]:
    """Return the errors of subscribers."""
    async with desk.database.session(desk.id) as db:
        return (await db.scalars(select(RelayFailure.last_error).where(RelayFailure.org_id == desk.id))).all()

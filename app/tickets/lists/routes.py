"""List tickets over HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.access.callers import Caller
from app.access.services import get_services
from app.core.search_texts import Lookup, SearchText
from app.core.web.fast_routes import FastRoute
from app.core.web.openapi import responses
from app.core.web.paging import InvalidCursor, Paging
from app.tickets.comments.queries import sees_comments
from app.tickets.http import TicketReader, json_response
from app.tickets.lists.queries import Listing, count_tickets, read_page
from app.tickets.lists.schemas import TicketListQuery, TicketPage
from app.tickets.queries import requester_scope
from app.tickets.references import reference_prefix
from app.tickets.representation import represent_tickets
from app.tickets.search.common_words import SearchServices
from app.tickets.search.queries import Search, find_requesters
from app.tickets.search.rules import (
    NO_COUNTS,
    LexemeCounts,
    RequestersByWord,
    describe_limits,
    index_query,
    is_common,
    query,
)

if TYPE_CHECKING:
    from app.core.database.pool import Driver

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=FastRoute)


@router.get(
    "",
    operation_id="listTickets",
    summary="List, filter and search tickets",
    response_model=TicketPage,
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_tickets(
    list_query: Annotated[TicketListQuery, Query()], caller: TicketReader, request: Request
) -> Response:
    """List the organisation's tickets, newest first unless `sort` says otherwise. Customers list their own.

    Repeat a filter to accept any of its values. A ticket must match all filters that are sent, including `q`. Pass
    `nextCursor` as `cursor`, with the same filters and sort, to get the next page.

    For users without the permission `comments:view`, `q` does not search the replies.
    """
    listing = Listing(
        account_id=requester_scope(caller),
        filters=list_query.values_for(caller),
        search=_search(list_query, caller),
        sort=list_query.sort,
    )
    paging = Paging.of(request, list_query, get_services(request).secret_key, caller.org_id, "tickets", filters=listing)
    after = paging.after(lambda at, number: (datetime.fromisoformat(at), number))
    note = None
    async with get_services(request).database.driver(caller.org_id) as driver:
        if listing.search and list_query.q:
            requesters, truncated = await _find_requesters(driver, caller, list_query.q)
            counts = get_services(request, SearchServices).common_words.counts()
            listing = replace(listing, search=_search(list_query, caller, requesters, counts))
            note = describe_limits(list_query.q, requesters, truncated)
        found = await read_page(driver, caller.org_id, listing, after, paging.fetch_limit)
        total = await count_tickets(driver, caller.org_id, listing) if list_query.include else None
    rows, next_cursor = paging.split_page(found, itemgetter(listing.sort.column, "number"))
    content: dict[str, Any] = {"items": represent_tickets(rows, caller.tenant), "nextCursor": next_cursor}
    if total is not None:
        content["total"] = total
    if note is not None:
        content["note"] = note
    return json_response(content, 200, **paging.link_headers(next_cursor))


def _search(
    list_query: TicketListQuery,
    caller: Caller,
    requesters: RequestersByWord = MappingProxyType({}),
    counts: LexemeCounts = NO_COUNTS,
) -> Search | None:
    if list_query.q is None:
        return None
    org_id, text, prefix = caller.org_id, list_query.q, reference_prefix(caller.tenant)
    return Search(
        query=query(org_id, text, prefix, requesters),
        index_query=index_query(org_id, text, prefix, requesters, counts),
        is_common=is_common(org_id, text, requesters, counts),
        include_replies=sees_comments(caller),
    )


async def _find_requesters(driver: Driver, caller: Caller, text: str) -> tuple[RequestersByWord, frozenset[Lookup]]:
    """Find the requesters whose names and e-mail addresses have words of a search text."""
    lookups = SearchText.parse(text).lookups
    if not lookups:
        return {}, frozenset()
    return await find_requesters(driver, caller.org_id, lookups, requester_scope(caller))

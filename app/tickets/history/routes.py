"""The history of a ticket over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.access.services import get_services
from app.core.web.openapi import responses
from app.core.web.paging import CountedPageQuery, InvalidCursor, Paging
from app.core.web.routing import Route
from app.tickets.errors import TicketNotFound
from app.tickets.history.queries import count_history, read_history
from app.tickets.history.representation import represent_event
from app.tickets.history.schemas import TicketEventPage
from app.tickets.http import TicketId, TicketReader, json_response
from app.tickets.queries import read_ticket, requester_scope

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=Route)


@router.get(
    "/{id}/history",
    operation_id="getTicketHistory",
    summary="List what happened to a ticket",
    response_model=TicketEventPage,
    response_model_exclude_unset=True,
    responses=responses(TicketNotFound, InvalidCursor),
)
async def get_history(
    ticket_id: TicketId, page_query: Annotated[CountedPageQuery, Query()], caller: TicketReader, request: Request
) -> Response:
    """List the ticket's events, oldest first. Events that Tessera caused automatically have the actor `SYSTEM`."""
    paging = Paging.of(
        request, page_query, get_services(request).secret_key, caller.org_id, "history", filters=ticket_id
    )
    after = paging.after(int) or 0
    async with get_services(request).database.driver(caller.org_id) as driver:
        await read_ticket(driver, caller.org_id, ticket_id, requester_scope(caller))
        found = await read_history(driver, caller.org_id, ticket_id, after, paging.fetch_limit)
        total = await count_history(driver, caller.org_id, ticket_id) if page_query.include else None
    rows, next_cursor = paging.split_page(found, lambda row: (row["seq"],))
    content: dict[str, Any] = {"items": [represent_event(row) for row in rows], "nextCursor": next_cursor}
    if total is not None:
        content["total"] = total
    return json_response(content, 200, **paging.link_headers(next_cursor))

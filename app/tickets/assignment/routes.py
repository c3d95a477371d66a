"""Accept tickets over HTTP."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from app.access.transactions import Db
from app.core.web.openapi import responses
from app.core.web.preconditions import check_if_match
from app.core.web.routing import Route
from app.tickets.assignment import service
from app.tickets.errors import AlreadyAccepted, AssigneeNotEligible, TicketClosed
from app.tickets.examples import ACCEPTED
from app.tickets.http import CHANGE_ERRORS, ETAG, IfMatch, TicketEditor, TicketId, read_changed, ticket_response
from app.tickets.schemas import Ticket

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=Route)


@router.post(
    "/{id}/accept",
    operation_id="acceptTicket",
    summary="Accept a ticket",
    response_model=Ticket,
    responses=responses(
        *CHANGE_ERRORS,
        TicketClosed,
        AlreadyAccepted,
        AssigneeNotEligible,
        ok=ETAG,
        example_overrides={200: ACCEPTED},
        version=2,
    ),
)
async def accept(ticket_id: TicketId, caller: TicketEditor, db: Db, if_match: IfMatch = None) -> Response:
    """Become the ticket's assignee and confirm that you work on it (`acceptedAt`).

    An `OPEN` ticket becomes `IN_PROGRESS`. Of two users who accept a ticket at the same time, one succeeds. If you
    accept it again, nothing changes. Assigning it to another user clears `acceptedAt`.
    """
    await service.accept(db, caller, ticket_id, partial(check_if_match, if_match))
    return ticket_response(await read_changed(db, caller, ticket_id), caller)

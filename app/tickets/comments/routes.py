"""Comments over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Response

from app.access.callers import UserCaller
from app.access.operation_requirements import requires
from app.access.transactions import Db
from app.access.user_permissions import Action, Resource
from app.core.web.openapi import responses
from app.core.web.preconditions import check_if_match, make_etag
from app.core.web.routing import Route
from app.tickets.comments import service
from app.tickets.comments.schemas import CommentWithTicket, ReplyCreate
from app.tickets.errors import TicketClosed
from app.tickets.examples import REPLY
from app.tickets.http import (
    CHANGE_ERRORS,
    EXAMPLE_PATH,
    VIEWS_TICKETS,
    IfMatch,
    TicketId,
    json_response,
    read_changed,
)
from app.tickets.representation import represent_ticket, represent_user

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=Route)

Responder = Annotated[UserCaller, requires(Resource.COMMENTS, Action.CREATE, also=VIEWS_TICKETS)]


@router.post(
    "/{id}/respond",
    operation_id="respondToTicket",
    summary="Reply to the requester",
    status_code=201,
    response_model=CommentWithTicket,
    responses=responses(
        *CHANGE_ERRORS,
        TicketClosed,
        body=True,
        ok={201: ("Location", "ETag")},
        location=EXAMPLE_PATH,
        example_overrides={201: REPLY},
        version=2,
    ),
)
async def respond(
    ticket_id: TicketId, body: ReplyCreate, caller: Responder, db: Db, if_match: IfMatch = None
) -> Response:
    """Reply to the requester, who receives the reply by mail.

    The ticket becomes `RESPONDED`, and closes automatically after `autoCloseDays` unless its status changes before.
    """
    comment = await service.respond(db, caller, ticket_id, body.message, partial(check_if_match, if_match))
    row = await read_changed(db, caller, ticket_id)
    author = caller.user
    content = {
        "id": comment.id,
        "ticketId": ticket_id,
        "message": comment.message,
        "author": represent_user(author.id, author.email, author.first_name, author.last_name),
        "createdAt": comment.created_at,
        "ticket": represent_ticket(row, caller.tenant),
    }
    return json_response(content, 201, ETag=make_etag(row["version"]), Location=f"/tickets/{ticket_id}")

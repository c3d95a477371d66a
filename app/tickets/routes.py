"""Open, read and change tickets over HTTP. Customers get 404 for tickets of other users.

Each subfolder has the routes of its topic.
"""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.access.callers import UserCaller
from app.access.errors import NotForCustomers
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import Db
from app.access.user_permissions import Action, Resource
from app.core.web.deprecation import deprecated_since
from app.core.web.fast_routes import FastRoute
from app.core.web.openapi import IF_NONE_MATCH, NOT_MODIFIED, responses
from app.core.web.preconditions import check_if_match, is_unmodified, make_etag
from app.core.web.routing import Route
from app.requesters.errors import ExternalIdTaken
from app.tickets import service
from app.tickets.changes import TicketChanges
from app.tickets.comments.queries import read_comments, sees_comments
from app.tickets.comments.representation import represent_comment
from app.tickets.comments.schemas import TicketWithComments
from app.tickets.errors import AssigneeNotEligible, OrgMismatch, TicketNotFound
from app.tickets.examples import CHANGED, RESPONDED
from app.tickets.http import (
    CHANGE_ERRORS,
    ETAG,
    EXAMPLE_PATH,
    VIEWS_TICKETS,
    IfMatch,
    TicketEditor,
    TicketId,
    TicketOpener,
    TicketPath,
    TicketReader,
    json_response,
    read_changed,
    ticket_response,
)
from app.tickets.queries import find_by_reference, read_ticket, requester_scope
from app.tickets.representation import represent_ticket
from app.tickets.schemas import Ticket, TicketCreate, TicketStatusUpdate, TicketUpdate

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=Route)
# Without FastAPI's resolution of dependencies: see `fast_routes.py`.
fast_router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=FastRoute)

Editor = Annotated[UserCaller, requires(Resource.TICKETS, Action.UPDATE, also=VIEWS_TICKETS, customers=True)]


@fast_router.post(
    "",
    operation_id="openTicket",
    summary="Open a ticket",
    status_code=201,
    response_model=Ticket,
    responses=responses(ExternalIdTaken, body=True, ok={201: ("Location", "ETag")}, location=EXAMPLE_PATH),
)
async def open_ticket(body: TicketCreate, caller: TicketOpener, request: Request) -> Response:
    """Open a ticket for one of your users with the secret key, or for yourself as a signed-in user.

    It is assigned in turn to an available engineer, or to an available admin if there is no engineer. Without either it
    waits (`assigneeId: null`) until a user becomes available. The secret key comes in the header `X-Org-Secret` or in
    the body.

    A requester with an account sees the ticket, if their e-mail address is verified. Admins and engineers may
    name any `requester`. The same address is the same requester; its first ticket makes it.
    """
    async with get_services(request).database.driver(caller.org_id, wakes_worker=True) as driver:
        row = await service.open_ticket(
            driver,
            caller,
            title=body.title,
            description=body.description,
            priority=body.priority,
            requester=body.requester_details(),
        )
    return ticket_response(row, caller, 201, Location=f"/tickets/{row['id']}")


@fast_router.get(
    "/{id}",
    operation_id="getTicket",
    summary="Get a ticket with its comments",
    response_model=TicketWithComments,
    responses=responses(TicketNotFound, ok=ETAG, example_overrides={200: RESPONDED}, version=2) | {304: NOT_MODIFIED},
    openapi_extra={"parameters": [IF_NONE_MATCH]},
)
async def get_ticket(key: TicketPath, caller: TicketReader, request: Request) -> Response:
    """Get a ticket, its assignee, and all comments on it, oldest first. Customers get their own tickets.

    Users without the permission `comments:view` get no comments.
    """
    async with get_services(request).database.driver(caller.org_id) as driver:
        ticket_id = key if isinstance(key, UUID) else await find_by_reference(driver, caller.tenant, key)
        row = await read_ticket(driver, caller.org_id, ticket_id, requester_scope(caller))
        # The version does not count changes of the requester.
        if not row["requester_was_changed"] and is_unmodified(
            request.headers.get("if-none-match"), make_etag(row["version"])
        ):
            return Response(status_code=304, headers={"ETag": make_etag(row["version"])})
        # A ticket without a reply has no comments: most reads are spared a round trip.
        may_have_comments = row["responded_at"] and sees_comments(caller)
        comments = await read_comments(driver, caller.org_id, ticket_id) if may_have_comments else []
    content = represent_ticket(row, caller.tenant)
    content["comments"] = [represent_comment(one) for one in comments]
    return json_response(content, ETag=make_etag(row["version"]))


_CHANGE_TICKET: dict[str, Any] = {
    "response_model": Ticket,
    "responses": responses(
        *CHANGE_ERRORS,
        NotForCustomers,
        OrgMismatch,
        AssigneeNotEligible,
        body=True,
        ok=ETAG,
        example_overrides={200: CHANGED},
        version=2,
    ),
}


# Operations that only the first clients use, deprecated since this date.
_DEPRECATED = deprecated_since(date(2026, 11, 27))


@router.patch("/{id}", operation_id="changeTicket", summary="Change a ticket", **_CHANGE_TICKET)
@router.post(
    "/{id}",
    operation_id="changeTicketByPost",
    summary="Change a ticket by POST",
    description="Use `PATCH /tickets/{id}` instead, which takes the same body and has the same effects.",
    **_CHANGE_TICKET,
    **_DEPRECATED,
)
async def change_ticket(
    ticket_id: TicketId, body: TicketUpdate, caller: Editor, db: Db, if_match: IfMatch = None
) -> Response:
    """Change any of the fields. Status and assignee have the same effects here as in their own operations.

    Customers can change only `title`, `description` and `priority`, and only of their own tickets.
    """
    await service.change_ticket(db, caller, ticket_id, body.changes(), partial(check_if_match, if_match))
    return ticket_response(await read_changed(db, caller, ticket_id), caller)


@router.post(
    "/{id}/change_status",
    operation_id="changeTicketStatus",
    summary="Change a ticket's status",
    response_model=Ticket,
    responses=responses(*CHANGE_ERRORS, body=True, ok=ETAG, example_overrides={200: CHANGED}, version=2),
    **_DEPRECATED,
)
async def change_status(
    ticket_id: TicketId, body: TicketStatusUpdate, caller: TicketEditor, db: Db, if_match: IfMatch = None
) -> Response:
    """Use `PATCH /tickets/{id}` with `{"status": …}` instead. The same status again changes nothing.

    `RESPONDED` starts the countdown to auto-close, and any other status cancels it. `CLOSED` sets `closedAt`.
    """
    changes = TicketChanges(status=body.status)
    await service.change_ticket(db, caller, ticket_id, changes, partial(check_if_match, if_match))
    return ticket_response(await read_changed(db, caller, ticket_id), caller)

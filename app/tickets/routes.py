"""Tickets over HTTP. A customer reaches their own only: to them, all others do not exist."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import MISSING
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, ProductCaller, UserCaller
from app.access.dependencies import Db
from app.access.errors import NotForCustomers
from app.access.permissions import Action, Resource, permission
from app.access.requirements import requires
from app.access.services import services_of
from app.access.tenant import reference_prefix
from app.core.database.pool import Database
from app.core.errors import BadInput, FieldError, VersionConflict
from app.core.fields import EXAMPLE_ID, OptionalParameter
from app.core.web.fast_routes import FastRoute
from app.core.web.openapi import IF_NONE_MATCH, NOT_MODIFIED, responses
from app.core.web.paging import InvalidCursor, PageQuery, Paging
from app.core.web.preconditions import check_if_match, is_unmodified, make_etag
from app.core.web.routing import Route
from app.tickets import queries, representation, rules, service
from app.tickets.event_schemas import TicketEventPage
from app.tickets.queries import TicketNotFound, requester_scope
from app.tickets.rows import TicketRow
from app.tickets.rules import AUTO_CLOSE
from app.tickets.schemas import (
    ME,
    Ticket,
    TicketCreate,
    TicketFilter,
    TicketPage,
    TicketReplyCreate,
    TicketReplyCreated,
    TicketSchedule,
    TicketStatusUpdate,
    TicketUpdate,
    TicketWithReplies,
)
from app.tickets.search.queries import Search
from app.tickets.search.rules import query

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=Route)
fast = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=FastRoute)

TicketId = Annotated[UUID, Path(alias="id")]
IfMatch = Annotated[
    OptionalParameter[str],
    Header(description="The ETag that your change is based on: a stale one is refused with 412."),
]

Opener = Annotated[Caller, requires(Resource.TICKETS, Action.CREATE, secret=True, secret_in_body=True, customers=True)]
Reader = Annotated[Caller, requires(Resource.TICKETS, Action.VIEW, secret=True, customers=True)]
Editor = Annotated[UserCaller, requires(Resource.TICKETS, Action.UPDATE, customers=True)]
Agent = Annotated[UserCaller, requires(Resource.TICKETS, Action.UPDATE)]
Responder = Annotated[UserCaller, requires(Resource.COMMENTS, Action.CREATE)]

_CHANGE = (TicketNotFound, VersionConflict)
_TAGGED = {200: ("ETag",)}
_ACCEPTED = {200: {"status": "IN_PROGRESS", "acceptedAt": "2026-03-02T09:35:00.125Z", "version": 2}}
_EXAMPLE = f"/tickets/{EXAMPLE_ID}"
_JSON = orjson.OPT_UTC_Z


def _json(content: object, status: int = 200, **headers: str) -> Response:
    # The driver's UUIDs are of a class of its own, which `str` writes as any other.
    body = orjson.dumps(content, default=str, option=_JSON)
    return Response(body, status, headers, "application/json")


async def _reread(db: AsyncSession, caller: Caller, ticket_id: UUID) -> TicketRow:
    """Read the ticket's row as the transaction has left it, with its assignee."""
    return await queries.one(await Database.get_driver(db), caller.org_id, ticket_id)


def _ticket(row: TicketRow, caller: Caller, status: int = 200, **headers: str) -> Response:
    return _json(representation.ticket(row, caller.tenant), status, ETag=make_etag(row["version"]), **headers)


@fast.post(
    "",
    operation_id="openTicket",
    summary="Open a ticket",
    status_code=201,
    response_model=Ticket,
    responses=responses(body=True, ok={201: ("Location", "ETag")}, location=_EXAMPLE),
)
async def open_ticket(body: TicketCreate, caller: Opener, request: Request) -> Response:
    """Post a ticket of one of your users, with the secret; or, signed in, one of your own.

    It is assigned to an available engineer, or where there is none to an available admin, by turns. Without either it
    waits (`adminId: null`), until somebody becomes available. The secret comes in the header `X-Org-Secret` or in the
    body.

    A requester with an account whose e-mail is verified finds the ticket there, when they sign in. Admins and engineers
    may name any requester in `addedBy`.
    """
    async with services_of(request).database.driver(caller.org_id, has_work=True) as driver:
        row = await service.open_ticket(
            driver,
            caller,
            title=body.title,
            description=body.description,
            priority=body.priority,
            added_by=None if body.added_by is MISSING else body.added_by,
        )
    return _ticket(row, caller, 201, Location=f"/tickets/{row['id']}")


@fast.get(
    "/{id}",
    operation_id="getTicket",
    summary="Read a ticket and the answers to it",
    response_model=TicketWithReplies,
    responses=responses(TicketNotFound, ok=_TAGGED) | {304: NOT_MODIFIED},
    openapi_extra={"parameters": [IF_NONE_MATCH]},
)
async def get_ticket(ticket_id: TicketId, caller: Reader, request: Request) -> Response:
    """The ticket, its assignee, and all responses, oldest first. Customers read their own.

    Users whose permissions do not include `comments:view` get an empty list of responses.
    """
    async with services_of(request).database.driver(caller.org_id) as driver:
        row = await queries.one(driver, caller.org_id, ticket_id, requester_scope(caller))
        if is_unmodified(request.headers.get("if-none-match"), make_etag(row["version"])):
            return Response(status_code=304, headers={"ETag": make_etag(row["version"])})
        # What was never answered has no responses: that spares most reads a round trip.
        sees_some = row["responded_at"] and _sees_responses(caller)
        given = await queries.responses(driver, caller.org_id, ticket_id) if sees_some else []
    content = representation.ticket(row, caller.tenant)
    content["responses"] = [representation.response(one) for one in given]
    return _json(content, ETag=make_etag(row["version"]))


def _sees_responses(caller: Caller) -> bool:
    match caller:
        case ProductCaller():
            return True
        case UserCaller(user=user):
            return permission(Resource.COMMENTS, Action.VIEW) in user.permissions


@fast.get(
    "",
    operation_id="listTickets",
    summary="List, filter and search tickets",
    response_model=TicketPage,
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_tickets(wanted: Annotated[TicketFilter, Query()], caller: Reader, request: Request) -> Response:
    """A page of the organisation's tickets, newest first unless `sort` says otherwise. Customers list their own.

    Repeat a filter to accept any of its values; different filters must all hold, and `q` with them. Pass `nextCursor`
    as `cursor`, with the same filters and sort, to get the next page.

    Users whose permissions do not include `comments:view` find tickets by their own words only, not by those of the
    responses.
    """
    listing = queries.Listing(
        requester_id=requester_scope(caller),
        assignee_ids=_assignees(wanted, caller),
        admin_emails=wanted.admin_email,
        customer_emails=wanted.customer_email,
        statuses=wanted.status,
        priorities=wanted.priority,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
        updated_after=wanted.updated_after,
        unassigned=wanted.unassigned,
        search=_search(wanted, caller),
        sort=wanted.sort,
    )
    paging = Paging.of(request, wanted, services_of(request).secret_key, caller.org_id, "tickets", filters=listing)
    after = paging.after(lambda at, number: (datetime.fromisoformat(at), number))
    async with services_of(request).database.driver(caller.org_id) as driver:
        found = await queries.page(driver, caller.org_id, listing, after, paging.fetch_limit)
        total = await queries.total(driver, caller.org_id, listing) if wanted.include else None
    rows, next_cursor = paging.split_page(found, itemgetter(listing.order[0], "number"))
    content: dict[str, Any] = {"items": representation.tickets(rows, caller.tenant), "nextCursor": next_cursor}
    if total is not None:
        content["total"] = total
    return _json(content, 200, **paging.link_headers(next_cursor))


def _search(wanted: TicketFilter, caller: Caller) -> Search | None:
    if wanted.q is None:
        return None
    words = query(caller.org_id, wanted.q, reference_prefix(caller.tenant.domain))
    return Search(query=words, include_replies=_sees_responses(caller))


def _assignees(wanted: TicketFilter, caller: Caller) -> list[UUID]:
    match caller:
        case UserCaller(user=user):
            return [user.id if one == ME else one for one in wanted.assignee]
        case ProductCaller():
            ids = [one for one in wanted.assignee if one != ME]
            if len(ids) < len(wanted.assignee):
                fault = FieldError("assignee", "`me` needs an access token: with a secret key, give the user's id.")
                raise BadInput(f"{fault.field}: {fault.message}", errors=[fault])
            return ids


@router.post(
    "/{id}/accept",
    operation_id="acceptTicket",
    summary="Take a ticket on",
    response_model=Ticket,
    responses=responses(
        *_CHANGE,
        service.TicketClosed,
        service.AlreadyAccepted,
        service.AssigneeNotActive,
        ok=_TAGGED,
        example_overrides=_ACCEPTED,
    ),
)
async def accept(ticket_id: TicketId, caller: Agent, db: Db, if_match: IfMatch = None) -> Response:
    """Be the ticket's assignee, and say that you see to it (`acceptedAt`); an `OPEN` one becomes `IN_PROGRESS`.

    Of two at the same moment one gets it. To accept it once more changes nothing. Whoever gives it to somebody else
    takes that back.
    """
    await service.accept(db, caller, ticket_id, partial(check_if_match, if_match))
    return _ticket(await _reread(db, caller, ticket_id), caller)


@router.post(
    "/{id}/change_status",
    operation_id="changeTicketStatus",
    summary="Change a ticket's status",
    response_model=Ticket,
    responses=responses(*_CHANGE, body=True, ok=_TAGGED),
)
async def change_status(
    ticket_id: TicketId, body: TicketStatusUpdate, caller: Agent, db: Db, if_match: IfMatch = None
) -> Response:
    """Move the ticket to a status. The same status again changes nothing.

    `RESPONDED` starts the countdown to auto-close, leaving it ends the countdown; `CLOSED` sets `closedAt`.
    """
    await service.change_status(db, caller, ticket_id, body.status, partial(check_if_match, if_match))
    return _ticket(await _reread(db, caller, ticket_id), caller)


@router.post(
    "/{id}/respond",
    operation_id="respondToTicket",
    summary="Answer a ticket",
    status_code=201,
    response_model=TicketReplyCreated,
    responses=responses(*_CHANGE, service.TicketClosed, body=True, ok={201: ("Location", "ETag")}, location=_EXAMPLE),
)
async def respond(
    ticket_id: TicketId, body: TicketReplyCreate, caller: Responder, db: Db, if_match: IfMatch = None
) -> Response:
    """Answer the requester, who gets it by mail.

    The ticket becomes `RESPONDED`, and closes by itself after `autoCloseDays` unless something happens.
    """
    response = await service.respond(db, caller, ticket_id, body.message, partial(check_if_match, if_match))
    row = await _reread(db, caller, ticket_id)
    author = caller.user
    content = {
        "id": response.id,
        "ticketId": ticket_id,
        "message": response.message,
        "author": representation.user(author.id, author.email, author.first_name, author.last_name),
        "createdAt": response.created_at,
        "ticket": representation.ticket(row, caller.tenant),
    }
    return _json(content, 201, ETag=make_etag(row["version"]), Location=f"/tickets/{ticket_id}")


_CHANGE_TICKET: dict[str, Any] = {
    "response_model": Ticket,
    "responses": responses(
        *_CHANGE, NotForCustomers, service.OrgMismatch, service.AssigneeNotActive, body=True, ok=_TAGGED
    ),
}


@router.post(
    "/{id}",
    operation_id="changeTicketByPost",
    summary="Change a ticket, for clients that cannot send PATCH",
    **_CHANGE_TICKET,
)
@router.patch("/{id}", operation_id="changeTicket", summary="Change a ticket", **_CHANGE_TICKET)
async def change_ticket(
    ticket_id: TicketId, body: TicketUpdate, caller: Editor, db: Db, if_match: IfMatch = None
) -> Response:
    """Change any of the fields; everything that follows from a change of status or assignee happens here as well.

    Customers change `title`, `description` and `priority`, of their own tickets.
    """
    await service.change(db, caller, ticket_id, body.changes(), partial(check_if_match, if_match))
    return _ticket(await _reread(db, caller, ticket_id), caller)


@router.get(
    "/{id}/history",
    operation_id="getTicketHistory",
    summary="Read what happened to a ticket",
    response_model=TicketEventPage,
    responses=responses(TicketNotFound, InvalidCursor),
)
async def get_history(
    ticket_id: TicketId, wanted: Annotated[PageQuery, Query()], caller: Reader, request: Request
) -> Response:
    """The ticket's events, oldest first. What Tessera did by itself has the actor `SYSTEM`."""
    paging = Paging.of(request, wanted, services_of(request).secret_key, caller.org_id, "history", filters=ticket_id)
    after = paging.after(int) or 0
    async with services_of(request).database.driver(caller.org_id) as driver:
        await queries.one(driver, caller.org_id, ticket_id, requester_scope(caller))
        found = await queries.history(driver, caller.org_id, ticket_id, after, paging.fetch_limit)
    rows, next_cursor = paging.split_page(found, lambda row: (row["seq"],))
    content = {"items": [representation.event(row) for row in rows], "nextCursor": next_cursor}
    return _json(content, 200, **paging.link_headers(next_cursor))


@router.get(
    "/{id}/schedule",
    operation_id="getTicketSchedule",
    summary="Read what will happen to a ticket by itself",
    response_model=TicketSchedule,
    responses=responses(TicketNotFound),
)
async def get_schedule(ticket_id: TicketId, caller: Reader, request: Request) -> Response:
    """What time will do to the ticket, on the organisation's clock."""
    async with services_of(request).database.driver(caller.org_id) as driver:
        timers = await queries.schedule(driver, caller.org_id, ticket_id, requester_scope(caller))
    due = {timer["kind"]: caller.tenant.organisation_time(timer["due_at"]) for timer in timers}
    items = []
    if AUTO_CLOSE in due:
        responded_at, reminder = timers[0]["responded_at"], due.get(rules.AUTO_CLOSE_REMINDER)
        reason = rules.auto_close_reason(responded_at, due[AUTO_CLOSE], reminder)
        items.append({"kind": AUTO_CLOSE, "dueAt": due[AUTO_CLOSE], "reason": reason})
    return _json({"items": items})

"""Tickets over HTTP. A customer reaches their own only: to them, all others do not exist."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response

from app.access.callers import Caller, NotForCustomers
from app.access.permissions import Action, Resource, permission
from app.access.requirements import Db, database_of, may, secret_key_of
from app.access.tenant import reference_prefix
from app.core.database.pool import Database
from app.core.errors import BadInput, FieldError, VersionConflict
from app.core.fields import EXAMPLE_ID
from app.core.web.fast_routes import HotRoute
from app.core.web.openapi import answers
from app.core.web.paging import CursorSigner, InvalidCursor, PageQuery, cut
from app.core.web.preconditions import check_if_match, etag
from app.core.web.routing import Route
from app.tickets import queries, representation, rules, service
from app.tickets.event_schemas import History
from app.tickets.queries import TicketNotFound, own_of
from app.tickets.rules import AUTO_CLOSE
from app.tickets.schemas import (
    ME,
    ResponseCreated,
    ResponseIn,
    Schedule,
    StatusChange,
    TicketChange,
    TicketFilter,
    TicketIn,
    TicketOut,
    TicketPage,
    TicketWithResponses,
)
from app.tickets.search.queries import Search
from app.tickets.search.rules import query

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=Route)
hot = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=HotRoute)

TicketId = Annotated[UUID, Path(alias="id")]
IfMatch = Annotated[
    str | None,
    Header(description="The ETag that your change is based on: a stale one is refused with 412."),
]

Opener = Annotated[Caller, may(Resource.TICKETS, Action.CREATE, secret=True, in_body=True, customers=True)]
Reader = Annotated[Caller, may(Resource.TICKETS, Action.VIEW, secret=True, customers=True)]
Editor = Annotated[Caller, may(Resource.TICKETS, Action.UPDATE, customers=True)]
Agent = Annotated[Caller, may(Resource.TICKETS, Action.UPDATE)]
Responder = Annotated[Caller, may(Resource.COMMENTS, Action.CREATE)]

_CHANGE = (TicketNotFound, VersionConflict)
_TAGGED = {200: ("ETag",)}
_ACCEPTED = {200: {"status": "IN_PROGRESS", "acceptedAt": "2026-03-02T09:35:00.125Z", "version": 2}}
_EXAMPLE = f"/tickets/{EXAMPLE_ID}"
_JSON = orjson.OPT_UTC_Z


def _json(content: object, status: int = 200, **headers: str) -> Response:
    # The driver's UUIDs are of a class of its own, which `str` writes as any other.
    body = orjson.dumps(content, default=str, option=_JSON)
    return Response(body, status, headers, "application/json")


def _ticket(row: Any, caller: Caller, status: int = 200, **headers: str) -> Response:
    return _json(representation.ticket(row, caller.tenant), status, ETag=etag(row["version"]), **headers)


@hot.post(
    "",
    operation_id="openTicket",
    summary="Open a ticket",
    status_code=201,
    response_model=TicketOut,
    responses=answers(body=True, ok={201: ("Location", "ETag")}, location=_EXAMPLE),
)
async def open_ticket(body: TicketIn, caller: Opener, request: Request) -> Response:
    """Post a ticket of one of your users, with the secret; or, signed in, one of your own.

    It is assigned to an available engineer, or where there is none to an available admin, by turns. Without either it
    waits (`adminId: null`), until somebody becomes available. The secret comes in the header `X-Org-Secret` or in the
    body.

    A requester with an account whose e-mail is verified finds the ticket there, when they sign in. Admins and engineers
    may name any requester in `addedBy`.
    """
    async with database_of(request).driver(caller.org_id, has_work=True) as driver:
        row = await service.open_ticket(
            driver,
            caller,
            title=body.title,
            description=body.description,
            priority=body.priority,
            added_by=body.added_by,
        )
    return _ticket(row, caller, 201, Location=f"/tickets/{row['id']}")


@hot.get(
    "/{id}",
    operation_id="getTicket",
    summary="Read a ticket and the answers to it",
    response_model=TicketWithResponses,
    responses=answers(TicketNotFound, ok=_TAGGED),
)
async def get_ticket(ticket_id: TicketId, caller: Reader, request: Request) -> Response:
    """The ticket, its assignee, and all responses, oldest first. Customers read their own.

    Users whose permissions do not include `comments:view` get an empty list of responses.
    """
    async with database_of(request).driver(caller.org_id) as driver:
        row = await queries.one(driver, caller.org_id, ticket_id, own_of(caller))
        # What was never answered has no responses: that spares most reads a round trip.
        sees_some = row["responded_at"] and _sees_responses(caller)
        given = await queries.responses(driver, caller.org_id, ticket_id) if sees_some else []
    content = representation.ticket(row, caller.tenant)
    content["responses"] = [representation.response(one) for one in given]
    return _json(content, ETag=etag(row["version"]))


def _sees_responses(caller: Caller) -> bool:
    return caller.user is None or permission(Resource.COMMENTS, Action.VIEW) in caller.user.permissions


@hot.get(
    "",
    operation_id="listTickets",
    summary="List, filter and search tickets",
    response_model=TicketPage,
    response_model_exclude_unset=True,
    responses=answers(InvalidCursor),
)
async def list_tickets(wanted: Annotated[TicketFilter, Query()], caller: Reader, request: Request) -> Response:
    """A page of the organisation's tickets, newest first unless `sort` says otherwise. Customers list their own.

    Repeat a filter to accept any of its values; different filters must all hold, and `q` with them. Pass `nextCursor`
    as `cursor`, with the same filters and sort, to get the next page.

    Users whose permissions do not include `comments:view` find tickets by their own words only, not by those of the
    responses.
    """
    listing = queries.Listing(
        requester_id=own_of(caller),
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
    signer = CursorSigner.of(secret_key_of(request), caller.org_id, "tickets", listing)
    after = None
    if wanted.cursor:
        at, number = signer.read(wanted.cursor)
        after = (datetime.fromisoformat(at), number)
    async with database_of(request).driver(caller.org_id) as driver:
        rows, more = cut(await queries.page(driver, caller.org_id, listing, after, wanted.limit + 1), wanted.limit)
        total = await queries.total(driver, caller.org_id, listing) if wanted.include else None
    column, _ = listing.order
    content: dict[str, Any] = {
        "items": representation.tickets(rows, caller.tenant),
        "nextCursor": signer.write(rows[-1][column], rows[-1]["number"]) if more else None,
    }
    if total is not None:
        content["total"] = total
    return _json(content)


def _search(wanted: TicketFilter, caller: Caller) -> Search | None:
    if wanted.q is None:
        return None
    words = query(caller.org_id, wanted.q, reference_prefix(caller.tenant.domain))
    return Search(query=words, answers=_sees_responses(caller))


def _assignees(wanted: TicketFilter, caller: Caller) -> list[UUID]:
    if caller.user is None and ME in wanted.assignee:
        fault = FieldError("assignee", "`me` is a user: an organisation secret is nobody.")
        raise BadInput(f"{fault.field}: {fault.message}", errors=[fault])
    return [one if isinstance(one, UUID) else caller.somebody.id for one in wanted.assignee]


@router.post(
    "/{id}/accept",
    operation_id="acceptTicket",
    summary="Take a ticket on",
    response_model=TicketOut,
    responses=answers(
        *_CHANGE, service.TicketClosed, service.AlreadyAccepted, service.AssigneeNotActive, ok=_TAGGED, shows=_ACCEPTED
    ),
)
async def accept(ticket_id: TicketId, caller: Agent, db: Db, if_match: IfMatch = None) -> Response:
    """Be the ticket's assignee, and say that you see to it (`acceptedAt`); an `OPEN` one becomes `IN_PROGRESS`.

    Of two at the same moment one gets it. To accept it once more changes nothing. Whoever gives it to somebody else
    takes that back.
    """
    await service.accept(db, caller, ticket_id, partial(check_if_match, if_match))
    driver = await Database.driver_of(db)
    return _ticket(await queries.one(driver, caller.org_id, ticket_id), caller)


@router.post(
    "/{id}/change_status",
    operation_id="changeTicketStatus",
    summary="Change a ticket's status",
    response_model=TicketOut,
    responses=answers(*_CHANGE, body=True, ok=_TAGGED),
)
async def change_status(
    ticket_id: TicketId, body: StatusChange, caller: Agent, db: Db, if_match: IfMatch = None
) -> Response:
    """Move the ticket to a status. The same status again changes nothing.

    `RESPONDED` starts the countdown to auto-close, leaving it ends the countdown; `CLOSED` sets `closedAt`.
    """
    await service.change_status(db, caller, ticket_id, body.status, partial(check_if_match, if_match))
    driver = await Database.driver_of(db)
    return _ticket(await queries.one(driver, caller.org_id, ticket_id), caller)


@router.post(
    "/{id}/respond",
    operation_id="respondToTicket",
    summary="Answer a ticket",
    status_code=201,
    response_model=ResponseCreated,
    responses=answers(*_CHANGE, service.TicketClosed, body=True, ok={201: ("Location", "ETag")}, location=_EXAMPLE),
)
async def respond(
    ticket_id: TicketId, body: ResponseIn, caller: Responder, db: Db, if_match: IfMatch = None
) -> Response:
    """Answer the requester, who gets it by mail.

    The ticket becomes `RESPONDED`, and closes by itself after `autoCloseDays` unless something happens.
    """
    response = await service.respond(db, caller, ticket_id, body.message, partial(check_if_match, if_match))
    row = await queries.one(await Database.driver_of(db), caller.org_id, ticket_id)
    author = caller.somebody
    content = {
        "id": response.id,
        "ticketId": ticket_id,
        "message": response.message,
        "author": representation.user(author.id, author.email, author.first_name, author.last_name),
        "createdAt": response.created_at,
        "ticket": representation.ticket(row, caller.tenant),
    }
    return _json(content, 201, ETag=etag(row["version"]), Location=f"/tickets/{ticket_id}")


_CHANGE_TICKET: dict[str, Any] = {
    "response_model": TicketOut,
    "responses": answers(
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
    ticket_id: TicketId, body: TicketChange, caller: Editor, db: Db, if_match: IfMatch = None
) -> Response:
    """Change any of the fields; everything that follows from a change of status or assignee happens here as well.

    Customers change `title`, `description` and `priority`, of their own tickets.
    """
    changes = body.model_dump(exclude_unset=True)
    await service.change(db, caller, ticket_id, changes, partial(check_if_match, if_match))
    driver = await Database.driver_of(db)
    return _ticket(await queries.one(driver, caller.org_id, ticket_id), caller)


@router.get(
    "/{id}/history",
    operation_id="getTicketHistory",
    summary="Read what happened to a ticket",
    response_model=History,
    responses=answers(TicketNotFound, InvalidCursor),
)
async def get_history(
    ticket_id: TicketId, wanted: Annotated[PageQuery, Query()], caller: Reader, request: Request
) -> Response:
    """The ticket's events, oldest first. What Tessera did by itself has the actor `SYSTEM`."""
    signer = CursorSigner.of(secret_key_of(request), caller.org_id, "history", ticket_id)
    after = int(signer.read(wanted.cursor)[0]) if wanted.cursor else 0
    async with database_of(request).driver(caller.org_id) as driver:
        await queries.one(driver, caller.org_id, ticket_id, own_of(caller))
        rows, more = cut(await queries.history(driver, caller.org_id, ticket_id, after, wanted.limit + 1), wanted.limit)
    return _json(
        {
            "items": [representation.event(row) for row in rows],
            "nextCursor": signer.write(rows[-1]["seq"]) if more else None,
        }
    )


@router.get(
    "/{id}/schedule",
    operation_id="getTicketSchedule",
    summary="Read what will happen to a ticket by itself",
    response_model=Schedule,
    responses=answers(TicketNotFound),
)
async def get_schedule(ticket_id: TicketId, caller: Reader, request: Request) -> Response:
    """What time will do to the ticket, on the organisation's clock."""
    async with database_of(request).driver(caller.org_id) as driver:
        timers = await queries.schedule(driver, caller.org_id, ticket_id, own_of(caller))
    due = {timer["kind"]: caller.tenant.organisation_time(timer["due_at"]) for timer in timers}
    items = []
    if AUTO_CLOSE in due:
        responded_at, reminder = timers[0]["responded_at"], due.get(rules.AUTO_CLOSE_REMINDER)
        reason = rules.auto_close_reason(responded_at, due[AUTO_CLOSE], reminder)
        items.append({"kind": AUTO_CLOSE, "dueAt": due[AUTO_CLOSE], "reason": reason})
    return _json({"items": items})

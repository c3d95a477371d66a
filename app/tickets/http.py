"""What the routes of tickets share: parameters, callers and responses."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import Depends, Header, Path, Request, Response
from pydantic import AfterValidator
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.caller_identification import read_json
from app.access.callers import Caller, ProductCaller, UserCaller
from app.access.operation_requirements import Requirement, get_requirement, requires
from app.access.services import get_services
from app.access.user_permissions import Action, Resource
from app.core.database.pool import Database
from app.core.errors import FieldError, VersionConflict
from app.core.fields import EXAMPLE_ID, OptionalParameter
from app.core.web.preconditions import check_form, make_etag
from app.core.web.problems import note_fault
from app.tickets.errors import REQUESTER_REQUIRED, TicketNotFound
from app.tickets.queries import find_by_reference, read_ticket
from app.tickets.references import TicketKey
from app.tickets.representation import represent_ticket
from app.tickets.rows import TicketRow

TicketPath = Annotated[TicketKey, Path(alias="id", description="The ticket's id, or its reference (`GROWFIN-42`).")]


async def find_ticket_id(key: TicketPath, request: Request) -> UUID:
    """Return the id of the ticket in the path. Only a reference takes a query.

    Raises:
        TicketNotFound: the organisation has no such reference. Whether the caller may see the ticket is not checked.
    """
    if isinstance(key, UUID):
        return key
    caller = await get_requirement(request.scope["endpoint"])(request)
    async with get_services(request).database.driver(caller.org_id) as driver:
        return await find_by_reference(driver, caller.tenant, key)


TicketId = Annotated[UUID, Depends(find_ticket_id)]
IfMatch = Annotated[
    OptionalParameter[str],
    AfterValidator(check_form),
    Header(description="The ETag that your change is based on: a stale one is refused with 412."),
]


class OpenerRequirement(Requirement):
    """Require a caller who may open tickets. A product must name the requester."""

    def __init__(self) -> None:
        super().__init__((Resource.TICKETS, Action.CREATE), secret=True, secret_in_body=True, customers=True)

    async def _identify(self, request: Request) -> Caller:
        caller = await super()._identify(request)
        body = await read_json(request) if isinstance(caller, ProductCaller) else None
        if isinstance(body, dict) and not {"requester", "addedBy"} & body.keys():
            note_fault(request, FieldError("requester", REQUESTER_REQUIRED))
        return caller


TicketOpener = Annotated[Caller, Depends(OpenerRequirement())]
TicketReader = Annotated[Caller, requires(Resource.TICKETS, Action.VIEW, secret=True, customers=True)]
# The response shows the whole ticket.
VIEWS_TICKETS = (Resource.TICKETS, Action.VIEW)
TicketEditor = Annotated[UserCaller, requires(Resource.TICKETS, Action.UPDATE, also=VIEWS_TICKETS)]

CHANGE_ERRORS = (TicketNotFound, VersionConflict)
ETAG = {200: ("ETag",)}
EXAMPLE_PATH = f"/tickets/{EXAMPLE_ID}"


def json_response(content: object, status: int = 200, **headers: str) -> Response:
    """Make a JSON response."""
    # orjson does not know the class of the driver's UUIDs, so `str` converts them.
    body = orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)
    return Response(body, status, headers, "application/json")


def ticket_response(row: TicketRow, caller: Caller, status: int = 200, **headers: str) -> Response:
    """Make a response with a ticket and its `ETag`."""
    return json_response(represent_ticket(row, caller.tenant), status, ETag=make_etag(row["version"]), **headers)


async def read_changed(db: AsyncSession, caller: Caller, ticket_id: UUID) -> TicketRow:
    """Read a ticket as this transaction has left it, with its assignee."""
    return await read_ticket(await Database.get_driver(db), caller.org_id, ticket_id)

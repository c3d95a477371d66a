"""Requesters over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.access.callers import Caller
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import Db
from app.access.user_permissions import Action, Resource
from app.core.fields import EXAMPLE_ID
from app.core.web.openapi import responses
from app.core.web.paging import InvalidCursor, Paging, add_note
from app.core.web.routing import Route
from app.requesters import changes, matching, queries, service
from app.requesters.errors import (
    ExternalIdTaken,
    RequesterExists,
    RequesterHasAccount,
    RequesterNotFound,
    SelfMerge,
)
from app.requesters.schemas import (
    Requester,
    RequesterCreate,
    RequesterListQuery,
    RequesterMerge,
    RequesterPage,
    RequesterUpdate,
)

router = APIRouter(prefix="/requesters", tags=["Requesters"], route_class=Route)

Reader = Annotated[Caller, requires(Resource.REQUESTERS, Action.VIEW, secret=True)]
Creator = Annotated[Caller, requires(Resource.REQUESTERS, Action.CREATE, secret=True)]
# The response shows the whole requester.
Editor = Annotated[
    Caller, requires(Resource.REQUESTERS, Action.UPDATE, also=(Resource.REQUESTERS, Action.VIEW), secret=True)
]
Eraser = Annotated[Caller, requires(Resource.REQUESTERS, Action.DELETE, secret=True)]
RequesterId = Annotated[UUID, Path(alias="id")]


@router.get(
    "", operation_id="listRequesters", summary="List and search requesters",
    response_model_exclude_unset=True, responses=responses(InvalidCursor),
)  # fmt: skip
async def list_requesters(
    list_query: Annotated[RequesterListQuery, Query()], caller: Reader, db: Db, request: Request, response: Response
) -> RequesterPage:
    """List requesters, newest first, without those that were erased or merged into others."""
    filters = list_query.values()
    secret_key = get_services(request).secret_key
    paging = Paging.of(request, list_query, secret_key, caller.org_id, "requesters", filters=filters)
    rows = await queries.list_page(db, caller.org_id, list_query, after=paging.after(UUID), limit=paging.fetch_limit)
    total = await queries.count(db, caller.org_id, list_query) if list_query.include else None
    page = paging.page(response, RequesterPage, rows, Requester.of, position=lambda row: (row.id,), total=total)
    return add_note(page, list_query.q)


_CREATED = responses(
    ExternalIdTaken, body=True, ok={200: ("Location",), 201: ("Location",)}, location=f"/requesters/{EXAMPLE_ID}"
)
_CREATED[200]["model"] = Requester


@router.post(
    "", operation_id="createRequester", summary="Create or update a requester", status_code=201, responses=_CREATED
)
async def create_requester(body: RequesterCreate, caller: Creator, db: Db, response: Response) -> Requester:
    """Create a requester (201), or update the one with this `externalId` or else with this e-mail address (200).

    Opening a ticket does the same: call this only to tell names, languages and ids in advance.
    """
    row, is_new = await matching.find_or_create(db, caller.org_id, body.details())
    response.headers["Location"] = f"/requesters/{row.id}"
    if not is_new:
        response.status_code = 200
    return Requester.of(row)


@router.get("/{id}", operation_id="getRequester", summary="Get a requester", responses=responses(RequesterNotFound))
async def get_requester(requester_id: RequesterId, caller: Reader, db: Db) -> Requester:
    """Get a requester. The id of a merged requester leads to the one that it was merged into."""
    return Requester.of(await service.get_requester(db, caller.org_id, requester_id))


@router.patch(
    "/{id}", operation_id="changeRequester", summary="Change a requester",
    responses=responses(RequesterNotFound, RequesterExists, RequesterHasAccount, body=True),
)  # fmt: skip
async def change_requester(requester_id: RequesterId, body: RequesterUpdate, caller: Editor, db: Db) -> Requester:
    """Change any of these fields. All tickets of the requester show the change at once."""
    return Requester.of(await changes.change(db, caller, requester_id, body.changes()))


@router.delete(
    "/{id}", operation_id="eraseRequester", summary="Erase a requester", status_code=204,
    responses=responses(RequesterNotFound, RequesterHasAccount),
)  # fmt: skip
async def erase_requester(requester_id: RequesterId, caller: Eraser, db: Db) -> None:
    """Delete the name, the address and the other personal data of a requester, for good, and mails about their tickets.

    The tickets stay, with an anonymous requester. A later ticket with the same address gets a new requester. If the
    requester has an account, erase the user (`DELETE /users/{id}`), which erases the requester too.
    """
    await service.erase(db, caller.org_id, requester_id, at=caller.now, actor=caller.actor)


@router.post(
    "/{id}/merge", operation_id="mergeRequester", summary="Merge a requester into another one",
    responses=responses(RequesterNotFound, RequesterHasAccount, SelfMerge, body=True),
)  # fmt: skip
async def merge_requester(requester_id: RequesterId, body: RequesterMerge, caller: Editor, db: Db) -> Requester:
    """Give the tickets of a requester to another one, who is returned.

    The address and the id of the merged requester lead to the other one from now on, and so do new tickets with them.
    A merge cannot be undone.
    """
    return Requester.of(await changes.merge(db, caller, requester_id, body.into))

"""Roles over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.access.callers import BeyondYourRights, Caller
from app.access.permissions import Action, Resource
from app.access.requirements import Db, acting_at_once, may, secret_key_of
from app.accounts.roles import queries, service
from app.accounts.roles.queries import RoleNotFound
from app.accounts.roles.rules import BY_ID
from app.accounts.roles.schemas import RoleChange, RoleIn, RoleOut, RolePage, from_table
from app.accounts.roles.service import NewRole
from app.core.fields import EXAMPLE_ID
from app.core.web.openapi import answers
from app.core.web.paging import CountedPageQuery, CursorSigner, InvalidCursor, cut
from app.core.web.routing import Route

router = APIRouter(prefix="/roles", tags=["Roles"], route_class=Route)

Reader = Annotated[Caller, may(Resource.ROLES, Action.VIEW)]
Creator = Annotated[Caller, may(Resource.ROLES, Action.CREATE)]
Editor = Annotated[Caller, may(Resource.ROLES, Action.UPDATE)]
Deleter = Annotated[Caller, may(Resource.ROLES, Action.DELETE)]
RoleId = Annotated[UUID, Path(alias="id")]


@router.get(
    "",
    operation_id="listRoles",
    summary="List the roles that users can have",
    response_model_exclude_unset=True,
    responses=answers(InvalidCursor),
)
async def list_roles(
    wanted: Annotated[CountedPageQuery, Query()], caller: Reader, db: Db, request: Request
) -> RolePage:
    """The organisation's own roles, newest first, and last the three that every organisation has."""
    signer = CursorSigner.of(secret_key_of(request), caller.org_id, "roles", None)
    after = UUID(signer.read(wanted.cursor)[0]) if wanted.cursor else None
    found = await queries.list_page(db, caller.org_id, after=after, limit=wanted.limit + 1)
    rows, more = cut(found, wanted.limit)
    page = RolePage(
        items=[RoleOut.of(row) for row in rows],
        next_cursor=signer.write(rows[-1].id) if more else None,
    )
    if wanted.include:
        page.total = await queries.count_custom(db, caller.org_id) + len(BY_ID)
    return page


@router.post(
    "",
    operation_id="createRole",
    summary="Make a role",
    status_code=201,
    responses=answers(
        service.RoleNameTaken, service.TooManyRoles, BeyondYourRights,
        body=True, ok={201: ("Location",)}, location=f"/roles/{EXAMPLE_ID}",
    ),
)  # fmt: skip
async def create_role(body: RoleIn, caller: Creator, db: Db, response: Response) -> RoleOut:
    """Make a role of the organisation's own, with permissions that you have yourself and of a kind not above yours.

    `copyOf` starts from the permissions of another role, a built-in one included. With neither it nor `permissions`,
    the role allows nothing. Whoever has a role of the kind `CUSTOMER` reaches only their own tickets, whatever it
    allows and whatever else they are granted.
    """
    said = body.model_fields_set
    new = NewRole(
        name=body.name,
        role=body.role if "role" in said else None,
        copy_of=body.copy_of,
        permissions=from_table(body.permissions) if "permissions" in said else None,
    )
    role = await service.create(db, caller, new)
    response.headers["Location"] = f"/roles/{role.id}"
    return RoleOut.of(role)


@router.get(
    "/{id}",
    operation_id="getRole",
    summary="Read a role",
    responses=answers(RoleNotFound),
)
async def get_role(role_id: RoleId, caller: Reader, db: Db) -> RoleOut:
    """A role, built in or the organisation's own, with all its permissions."""
    return RoleOut.of(await queries.get_role(db, caller.org_id, role_id))


@router.patch(
    "/{id}",
    operation_id="changeRole",
    summary="Change a role",
    responses=answers(RoleNotFound, service.BuiltInRoleChanged, service.RoleNameTaken, BeyondYourRights, body=True),
)
async def change_role(role_id: RoleId, body: RoleChange, caller: Editor, request: Request) -> RoleOut:
    """Change its name or its permissions, for everybody who has it, within five seconds.

    You need every permission that it has, or is to have, and its kind is not to be above yours. To your own role you
    cannot add anything. Whoever may then no longer see and change tickets hands theirs over to others.
    """
    said = body.model_fields_set
    async with acting_at_once(request, caller.org_id) as db:
        role = await service.change(
            db,
            caller,
            role_id,
            name=body.name if "name" in said else None,
            permissions=from_table(body.permissions) if "permissions" in said else None,
        )
    return RoleOut.of(role)


@router.delete(
    "/{id}",
    operation_id="deleteRole",
    summary="Delete a role",
    status_code=204,
    responses=answers(RoleNotFound, service.BuiltInRoleChanged, service.RoleInUse, BeyondYourRights),
)
async def delete_role(role_id: RoleId, caller: Deleter, db: Db) -> None:
    """Delete a role that nobody has."""
    await service.delete(db, caller, role_id)

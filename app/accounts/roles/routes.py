"""Roles over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import MISSING

from app.access.callers import UserCaller
from app.access.errors import PrivilegeEscalation
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import Db, transaction_refreshing_credentials
from app.access.trust_requirements import Applies
from app.access.user_permissions import Action, Resource
from app.accounts.roles import queries, service
from app.accounts.roles.errors import BuiltInRoleChanged, RoleInUse, RoleNameTaken, RoleNotFound, TooManyRoles
from app.accounts.roles.rules import BY_ID
from app.accounts.roles.schemas import Role, RoleCreate, RolePage, RoleUpdate, from_table
from app.accounts.roles.service import NewRole
from app.core.fields import EXAMPLE_ID
from app.core.web.openapi import responses
from app.core.web.paging import CountedPageQuery, InvalidCursor, Paging
from app.core.web.routing import Route

router = APIRouter(prefix="/roles", tags=["Roles"], route_class=Route)

Reader = Annotated[UserCaller, requires(Resource.ROLES, Action.VIEW)]
Creator = Annotated[UserCaller, requires(Resource.ROLES, Action.CREATE)]
Editor = Annotated[UserCaller, requires(Resource.ROLES, Action.UPDATE, fresh=Applies.SOMETIMES)]
Deleter = Annotated[UserCaller, requires(Resource.ROLES, Action.DELETE)]
RoleId = Annotated[UUID, Path(alias="id")]


@router.get(
    "",
    operation_id="listRoles",
    summary="List roles",
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_roles(
    page_query: Annotated[CountedPageQuery, Query()], caller: Reader, db: Db, request: Request, response: Response
) -> RolePage:
    """List the organisation's own roles, newest first, and then the three built-in ones."""
    paging = Paging.of(request, page_query, get_services(request).secret_key, caller.org_id, "roles")
    rows = await queries.list_page(db, caller.org_id, after=paging.after(UUID), limit=paging.fetch_limit)
    total = await queries.count_custom(db, caller.org_id) + len(BY_ID) if page_query.include else None
    return paging.page(response, RolePage, rows, Role.of, position=lambda row: (row.id,), total=total)


@router.post(
    "",
    operation_id="createRole",
    summary="Create a role",
    status_code=201,
    responses=responses(
        RoleNameTaken, TooManyRoles, PrivilegeEscalation,
        body=True, ok={201: ("Location",)}, location=f"/roles/{EXAMPLE_ID}",
    ),
)  # fmt: skip
async def create_role(body: RoleCreate, caller: Creator, db: Db, response: Response) -> Role:
    """Create a role, with permissions that you have yourself and of a kind not above yours.

    `copyOf` starts from the permissions of another role, which may be built-in. With neither `copyOf` nor
    `permissions`, the role allows nothing. Users with a role of the kind `CUSTOMER` reach only their own tickets,
    whatever permissions they have.
    """
    new = NewRole(
        name=body.name,
        kind=None if body.role is MISSING else body.role,
        copy_of=body.copy_of,
        permissions=None if body.permissions is MISSING else from_table(body.permissions),
    )
    role = await service.create(db, caller, new)
    response.headers["Location"] = f"/roles/{role.id}"
    return Role.of(role)


@router.get(
    "/{id}",
    operation_id="getRole",
    summary="Get a role",
    responses=responses(RoleNotFound),
)
async def get_role(role_id: RoleId, caller: Reader, db: Db) -> Role:
    """Get a role, built-in or the organisation's own, with all its permissions."""
    return Role.of(await queries.get_role(db, caller.org_id, role_id))


@router.patch(
    "/{id}",
    operation_id="changeRole",
    summary="Change a role",
    responses=responses(RoleNotFound, BuiltInRoleChanged, RoleNameTaken, PrivilegeEscalation, body=True),
)
async def change_role(role_id: RoleId, body: RoleUpdate, caller: Editor, request: Request) -> Role:
    """Change a role's name or permissions for all its users, within five seconds.

    You need all permissions that the role has before and after, and its kind must not be above yours. You cannot add
    permissions to your own role. Tickets of users who may then no longer see and change tickets are assigned to others.
    """
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        role = await service.change(
            db,
            caller,
            role_id,
            name=None if body.name is MISSING else body.name,
            permissions=None if body.permissions is MISSING else from_table(body.permissions),
        )
    return Role.of(role)


@router.delete(
    "/{id}",
    operation_id="deleteRole",
    summary="Delete a role",
    status_code=204,
    responses=responses(RoleNotFound, BuiltInRoleChanged, RoleInUse, PrivilegeEscalation),
)
async def delete_role(role_id: RoleId, caller: Deleter, db: Db) -> None:
    """Delete a role that is not assigned to any user."""
    await service.delete(db, caller, role_id)

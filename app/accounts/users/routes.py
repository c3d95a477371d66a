"""Users over HTTP: what admins do with the users of their organisation."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.access.errors import PrivilegeEscalation
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import Db, transaction_refreshing_credentials
from app.access.trust_requirements import Applies
from app.access.user_permissions import Action, Resource
from app.accounts.roles.schemas import from_table
from app.accounts.users import models, queries, service
from app.accounts.users.errors import (
    CustomerNotAvailable,
    EmailNotVerified,
    LastAdmin,
    NotActiveYet,
    NotPending,
    UserNotFound,
)
from app.accounts.users.examples import ENGINEER_USER
from app.accounts.users.rules import AccountStatus
from app.accounts.users.schemas import (
    EXAMPLE_REASON,
    User,
    UserDetails,
    UserListQuery,
    UserPage,
    UserPermissions,
    UserPermissionsUpdate,
    UserRejection,
    UserRoleUpdate,
    UserUpdate,
)
from app.core.web.openapi import responses
from app.core.web.paging import InvalidCursor, Paging, add_note
from app.core.web.routing import Route

router = APIRouter(prefix="/users", tags=["Users"], route_class=Route)

Viewer = Annotated[UserCaller, requires(Resource.USERS, Action.VIEW)]
# The response shows the whole user.
Editor = Annotated[UserCaller, requires(Resource.USERS, Action.UPDATE, also=(Resource.USERS, Action.VIEW))]
# Changes of what an admin may do, or of who is one, require a fresh sign-in: see `changing_user`.
AdminEditor = Annotated[
    UserCaller,
    requires(Resource.USERS, Action.UPDATE, also=(Resource.USERS, Action.VIEW), fresh=Applies.SOMETIMES),
]
UserId = Annotated[UUID, Path(alias="id")]

_REJECTED = {**ENGINEER_USER, "status": "REJECTED", "available": False, "statusReason": EXAMPLE_REASON}


async def _details_of(db: AsyncSession, row: models.User) -> UserDetails:
    is_invited = row.status == AccountStatus.INVITED
    return UserDetails.of_user(row, await queries.get_invitation_expiry(db, row) if is_invited else None)


@router.get(
    "",
    operation_id="listUsers",
    summary="List and search the organisation's users",
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_users(
    list_query: Annotated[UserListQuery, Query()], caller: Viewer, db: Db, request: Request, response: Response
) -> UserPage:
    """List users, newest first. `status=PENDING` finds the sign-ups that wait for approval."""
    filters = list_query.values()
    paging = Paging.of(request, list_query, get_services(request).secret_key, caller.org_id, "users", filters=filters)
    rows = await queries.list_page(db, caller.org_id, list_query, after=paging.after(UUID), limit=paging.fetch_limit)
    total = await queries.count(db, caller.org_id, list_query) if list_query.include else None
    page = paging.page(response, UserPage, rows, User.of, position=lambda row: (row.id,), total=total)
    return add_note(page, list_query.q)


@router.get("/{id}", operation_id="getUser", summary="Get a user", responses=responses(UserNotFound))
async def get_user(user_id: UserId, caller: Viewer, db: Db) -> UserDetails:
    """Get a user of the organisation. For an `INVITED` user, it includes when the invitation expires."""
    return await _details_of(db, await queries.get_user(db, caller.org_id, user_id))


@router.patch(
    "/{id}",
    operation_id="changeUser",
    summary="Change a user's role, status or availability",
    responses=responses(
        UserNotFound, PrivilegeEscalation, EmailNotVerified, LastAdmin, NotActiveYet, CustomerNotAvailable,
        body=True, example_overrides={200: ENGINEER_USER},
    ),
)  # fmt: skip
async def change_user(user_id: UserId, body: UserUpdate, caller: AdminEditor, request: Request) -> UserDetails:
    """Change any of these fields. Access tokens that are in use follow within five seconds.

    You cannot change a user whose kind of role is higher than yours (`ADMIN`, then `ENGINEER`, then `CUSTOMER`) or who
    has permissions that you lack, and you cannot give such a role. Users cannot be available before their account was
    active. An organisation keeps at least one active admin with the built-in role and no denied permissions. A user who
    signed up gets a role that allows more only after verifying the e-mail.
    """
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        return await _details_of(db, await service.change(db, caller, user_id, body.changes()))


@router.post(
    "/{id}/approve",
    operation_id="approveUser",
    summary="Approve a user who signed up",
    responses=responses(UserNotFound, PrivilegeEscalation, NotPending, example_overrides={200: ENGINEER_USER}),
)
async def approve_user(user_id: UserId, caller: AdminEditor, request: Request) -> UserDetails:
    """Make an account active that is `PENDING` or `REJECTED`. The user gets a mail.

    See `emailVerified` first: anyone can sign up with the address of another person, and until the e-mail is verified
    only you can tell whose account it is.

    Admins and engineers become available, and waiting tickets are assigned at once.
    """
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        return await _details_of(db, await service.approve(db, caller, user_id))


@router.post(
    "/{id}/reject",
    operation_id="rejectUser",
    summary="Reject a user who signed up",
    responses=responses(UserNotFound, PrivilegeEscalation, NotPending, body=True, example_overrides={200: _REJECTED}),
)
async def reject_user(
    user_id: UserId, caller: Editor, request: Request, body: UserRejection | None = None
) -> UserDetails:
    """Reject an account that is `PENDING`. The user gets a mail, with the reason if you give one."""
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        return await _details_of(db, await service.reject(db, caller, user_id, body.reason if body else None))


@router.put(
    "/{id}/role",
    operation_id="setUserRole",
    summary="Set a user's role",
    responses=responses(
        UserNotFound, PrivilegeEscalation, EmailNotVerified, LastAdmin,
        body=True, example_overrides={200: ENGINEER_USER},
    ),
)  # fmt: skip
async def set_user_role(user_id: UserId, body: UserRoleUpdate, caller: AdminEditor, request: Request) -> UserDetails:
    """Give a user a built-in role or one of the organisation's own, which replaces the present one.

    Permissions that are granted and denied to the user stay. Access tokens that are in use follow within five seconds.
    You need all permissions of the role, and its kind must not be above yours. You can give yourself only a role
    that allows nothing more than your present one.
    """
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        return await _details_of(db, await service.set_role(db, caller, user_id, body.role_id))


@router.get(
    "/{id}/permissions",
    operation_id="getUserPermissions",
    summary="Get a user's permissions",
    responses=responses(UserNotFound),
)
async def get_user_permissions(user_id: UserId, caller: Viewer, db: Db) -> UserPermissions:
    """Get what the user's role allows, what is granted and denied on top of it, and the result."""
    return UserPermissions.of(await queries.get_user(db, caller.org_id, user_id))


@router.put(
    "/{id}/permissions",
    operation_id="setUserPermissions",
    summary="Grant or deny permissions to a user",
    responses=responses(UserNotFound, PrivilegeEscalation, LastAdmin, body=True),
)
async def set_user_permissions(
    user_id: UserId, body: UserPermissionsUpdate, caller: AdminEditor, request: Request
) -> UserPermissions:
    """Replace the permissions that are granted and denied to a user on top of the role.

    Both lists are required: an empty one revokes all grants, or lifts all denials. Access tokens that are in use follow
    within five seconds. You can grant only permissions that you have, and none to yourself. If the user may then no
    longer see and change tickets, their tickets are assigned to others.
    """
    granted, denied = from_table(body.granted), from_table(body.denied)
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        return UserPermissions.of(await service.set_permissions(db, caller, user_id, granted, denied))

"""Users over HTTP: what admins do with the users of their organisation."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.access.dependencies import Db, transaction_refreshing_credentials
from app.access.errors import PrivilegeEscalation
from app.access.permissions import Action, Resource
from app.access.requirements import requires
from app.access.services import services_of
from app.accounts.profiles.service import CustomerNotAvailable
from app.accounts.roles.schemas import from_table
from app.accounts.users import lists as queries
from app.accounts.users import models, service
from app.accounts.users import rights as rules
from app.accounts.users.fields import BO
from app.accounts.users.lists import Listing
from app.accounts.users.queries import UserNotFound, user
from app.accounts.users.rules import AccountStatus
from app.accounts.users.schemas import (
    EXAMPLE_REASON,
    User,
    UserDetails,
    UserFilter,
    UserPage,
    UserPermissions,
    UserPermissionsUpdate,
    UserRejection,
    UserRoleUpdate,
    UserUpdate,
)
from app.authentication.second_factor.errors import SecondFactorNotSetUp
from app.core.web.openapi import responses
from app.core.web.paging import InvalidCursor, Paging
from app.core.web.routing import Route

router = APIRouter(prefix="/users", tags=["Users"], route_class=Route)

Viewer = Annotated[UserCaller, requires(Resource.USERS, Action.VIEW)]
Changer = Annotated[UserCaller, requires(Resource.USERS, Action.UPDATE)]
Eraser = Annotated[UserCaller, requires(Resource.USERS, Action.DELETE)]
UserId = Annotated[UUID, Path(alias="id")]

_REJECTED = {**BO, "status": "REJECTED", "available": False, "statusReason": EXAMPLE_REASON}


async def _answer(db: AsyncSession, row: models.User) -> UserDetails:
    invited = row.status == AccountStatus.INVITED
    return UserDetails.of_user(row, await queries.invitation_expires_at(db, row) if invited else None)


@router.get(
    "",
    operation_id="listUsers",
    summary="List and search the organisation's users",
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_users(
    wanted: Annotated[UserFilter, Query()], caller: Viewer, db: Db, request: Request, response: Response
) -> UserPage:
    """A page of users, newest first. `status=PENDING` are the sign-ups that wait for approval."""
    listing = Listing(
        roles=wanted.role,
        statuses=wanted.status,
        available=wanted.available,
        words=None if wanted.q is None else rules.query_terms(wanted.q),
    )
    paging = Paging.of(request, wanted, services_of(request).secret_key, caller.org_id, "users", filters=listing)
    rows = await queries.page(db, caller.org_id, listing, paging.after(UUID), paging.fetch_limit)
    total = await queries.total(db, caller.org_id, listing) if wanted.include else None
    return paging.page(response, UserPage, rows, User.of, position=lambda row: (row.id,), total=total)


@router.get("/{id}", operation_id="getUser", summary="Read about somebody", responses=responses(UserNotFound))
async def get_user(user_id: UserId, caller: Viewer, db: Db) -> UserDetails:
    """Somebody of the organisation; of who is `INVITED`, also until when they can accept."""
    return await _answer(db, await user(db, caller.org_id, user_id))


@router.patch(
    "/{id}",
    operation_id="changeUser",
    summary="Change somebody's role, status or availability",
    responses=responses(
        UserNotFound, PrivilegeEscalation, service.LastAdmin, service.NotActiveYet, CustomerNotAvailable,
        body=True, example_overrides={200: BO},
    ),
)  # fmt: skip
async def change_user(user_id: UserId, body: UserUpdate, caller: Changer, request: Request) -> UserDetails:
    """Change any of these; it acts on live access tokens within five seconds.

    Nobody changes somebody who is more (`ADMIN`, then `ENGINEER`, then `CUSTOMER`) or has more permissions, or gives a
    role that is more than their own or any permission that they do not have. Nobody is available before they have been
    active. The organisation's last active admin of the built-in role, with nothing denied, stays one.
    """
    changes = service.Changes(**body.model_dump())
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        return await _answer(db, await service.change(db, caller, user_id, changes))


@router.delete(
    "/{id}",
    operation_id="eraseUser",
    summary="Erase somebody",
    status_code=204,
    responses=responses(UserNotFound, PrivilegeEscalation, service.LastAdmin),
)
async def erase_user(user_id: UserId, caller: Eraser, request: Request) -> None:
    """Delete all that is personal about somebody, for good, and sign them out.

    What they wrote stays, by an anonymous author. Their e-mail may sign up again, as somebody new. Tickets of an e-mail
    that they never verified stay as they are, since it may be somebody else's.
    """
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        await service.erase(db, caller, user_id)


@router.post(
    "/{id}/approve",
    operation_id="approveUser",
    summary="Approve somebody who signed up",
    responses=responses(UserNotFound, PrivilegeEscalation, service.NotPending, example_overrides={200: BO}),
)
async def approve_user(user_id: UserId, caller: Changer, request: Request) -> UserDetails:
    """Make an account active that is `PENDING`, or was rejected. Its user is mailed.

    Unless they are a customer, they become available, and tickets that were waiting are shared at once.
    """
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        return await _answer(db, await service.approve(db, caller, user_id))


@router.post(
    "/{id}/reject",
    operation_id="rejectUser",
    summary="Reject somebody who signed up",
    responses=responses(
        UserNotFound, PrivilegeEscalation, service.NotPending, body=True, example_overrides={200: _REJECTED}
    ),
)
async def reject_user(
    user_id: UserId, caller: Changer, request: Request, body: UserRejection | None = None
) -> UserDetails:
    """Turn somebody away whose account is `PENDING`. They are mailed, with the reason if there is one."""
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        return await _answer(db, await service.reject(db, caller, user_id, body.reason if body else None))


@router.put(
    "/{id}/role",
    operation_id="setUserRole",
    summary="Give somebody a role",
    responses=responses(UserNotFound, PrivilegeEscalation, service.LastAdmin, body=True, example_overrides={200: BO}),
)
async def set_user_role(user_id: UserId, body: UserRoleUpdate, caller: Changer, request: Request) -> UserDetails:
    """Give somebody a built-in role or one of the organisation's own, in place of the one they have.

    What they are granted and denied on top of it stays. It acts on live access tokens within five seconds. You need all
    permissions that the role gives, and its kind is not to be above yours; to yourself you can only give one with
    nothing that your present role has not.
    """
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        return await _answer(db, await service.set_role(db, caller, user_id, body.role_id))


@router.get(
    "/{id}/permissions",
    operation_id="getUserPermissions",
    summary="Read what somebody may do",
    responses=responses(UserNotFound),
)
async def get_user_permissions(user_id: UserId, caller: Viewer, db: Db) -> UserPermissions:
    """What their role gives them, what they are granted and denied on top of it, and what follows."""
    return UserPermissions.of(await user(db, caller.org_id, user_id))


@router.put(
    "/{id}/permissions",
    operation_id="setUserPermissions",
    summary="Grant or deny somebody permissions",
    responses=responses(UserNotFound, PrivilegeEscalation, service.LastAdmin, body=True),
)
async def set_user_permissions(
    user_id: UserId, body: UserPermissionsUpdate, caller: Changer, request: Request
) -> UserPermissions:
    """Replace what somebody is granted and denied on top of their role.

    Both lists are needed: an empty one takes back all that was granted, or lifts all denials. It acts on live access
    tokens within five seconds. Nobody grants what they do not have, or themselves anything. Whoever may then no longer
    see and change tickets hands theirs over to others.
    """
    granted, denied = from_table(body.granted), from_table(body.denied)
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        return UserPermissions.of(await service.set_permissions(db, caller, user_id, granted, denied))


@router.delete(
    "/{id}/2fa",
    operation_id="resetUserSecondFactor",
    summary="Reset somebody's second factor",
    status_code=204,
    responses=responses(UserNotFound, PrivilegeEscalation, SecondFactorNotSetUp),
)
async def reset_user_second_factor(user_id: UserId, caller: Changer, request: Request) -> None:
    """Help somebody who has lost their authenticator and their recovery codes: make sure first that it is them.

    They are signed out everywhere and mailed, and sign in with their password alone. Where the organisation requires a
    second factor of them, they then set up a new one. Your own you disable with a code, at `POST /auth/2fa/disable`.
    """
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        await service.reset_second_factor(db, caller, user_id)

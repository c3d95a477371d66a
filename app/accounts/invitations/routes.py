"""Invitations over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import MISSING

from app.access.attempt_limits import Limit
from app.access.callers import UserCaller
from app.access.errors import PrivilegeEscalation
from app.access.limited_operations import limited
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import transaction_refreshing_credentials
from app.access.trust_requirements import Applies
from app.access.user_permissions import Action, Resource
from app.accounts.invitations import service
from app.accounts.invitations.errors import NotInvited
from app.accounts.invitations.schemas import InvitationAcceptance, InvitationCreate, InvitedUser
from app.accounts.invitations.service import NewInvitation
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.users.creation import NewUser
from app.accounts.users.errors import EmailTaken, UserNotFound, WeakPassword
from app.accounts.users.examples import ENGINEER_USER
from app.accounts.users.schemas import User
from app.core.errors import TooMany
from app.core.fields import EXAMPLE_ID
from app.core.threads import Busy
from app.core.web.client_address import address_of
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(tags=["Users"], route_class=Route)

Inviter = Annotated[UserCaller, requires(Resource.USERS, Action.CREATE)]
# To invite an admin requires a fresh sign-in: see `service.invite`.
AdminInviter = Annotated[UserCaller, requires(Resource.USERS, Action.CREATE, fresh=Applies.SOMETIMES)]
UserId = Annotated[UUID, Path(alias="id")]

_INVITED = {
    **ENGINEER_USER,
    "status": "INVITED",
    "available": False,
    "emailVerified": False,
    "createdAt": "2026-03-02T09:30:00.125Z",
    "invitationExpiresAt": "2026-03-09T09:30:00.125Z",
}


@router.post(
    "/users",
    operation_id="inviteUser",
    summary="Invite a user",
    status_code=201,
    responses=responses(
        EmailTaken, PrivilegeEscalation, TooMany,
        body=True, ok={201: ("Location",)}, location=f"/users/{EXAMPLE_ID}", example_overrides={201: _INVITED},
    ),
)  # fmt: skip
@limited(Limit.INVITATIONS)
async def invite_user(
    body: InvitationCreate, caller: AdminInviter, request: Request, response: Response
) -> InvitedUser:
    """Create an account that is `INVITED` until its user follows the mailed link and sets a password.

    The link's token can be used once, with `POST /auth/invitation/accept`, within 7 days. The role, given by `role` or
    `roleId`, must not have permissions that you lack, or a higher kind than yours (`ADMIN`, then `ENGINEER`, then
    `CUSTOMER`). A customer or a waiting sign-up that has the e-mail without having verified it is erased: its tickets
    stay.
    """
    services = get_services(request)
    await services.attempts.count_invitation(caller.org_id, body.email, address_of(request))
    user = NewUser(body.first_name, body.last_name, body.email)
    new = NewInvitation(
        user=user,
        role_kind=None if body.role is MISSING else body.role,
        role_id=None if body.role_id is MISSING else body.role_id,
    )
    async with services.database.session(caller.org_id) as db:
        invited, link = await service.invite(db, caller, new)
    response.headers["Location"] = f"/users/{invited.id}"
    return InvitedUser.of_invitation(invited, link)


@router.post(
    "/users/{id}/invitation",
    operation_id="resendInvitation",
    summary="Resend an invitation",
    responses=responses(UserNotFound, NotInvited, PrivilegeEscalation, TooMany, example_overrides={200: _INVITED}),
)
@limited(Limit.INVITATIONS)
async def resend_invitation(user_id: UserId, caller: Inviter, request: Request) -> InvitedUser:
    """Mail an `INVITED` user a new link that expires in 7 days. Earlier links stop working."""
    services = get_services(request)
    async with services.database.session(caller.org_id) as db:
        email = (await service.get_invited(db, caller, user_id)).email
    await services.attempts.count_invitation(caller.org_id, email, address_of(request))
    async with services.database.session(caller.org_id) as db:
        user, link = await service.resend(db, caller, user_id)
    return InvitedUser.of_invitation(user, link)


@router.delete(
    "/users/{id}/invitation",
    operation_id="cancelInvitation",
    summary="Cancel an invitation",
    status_code=204,
    responses=responses(UserNotFound, NotInvited, PrivilegeEscalation),
)
async def cancel_invitation(user_id: UserId, caller: Inviter, request: Request) -> None:
    """Delete the account of an `INVITED` user: the links stop working, and the e-mail is free again."""
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        await service.cancel(db, caller, user_id)


@router.post(
    "/auth/invitation/accept",
    operation_id="acceptInvitation",
    summary="Accept an invitation",
    responses=responses(LinkExpired, WeakPassword, TooMany, Busy, body=True),
)
@limited(Limit.LINKS)
async def accept_invitation(body: InvitationAcceptance, request: Request) -> User:
    """Set the password of the account that the token was mailed to, and make it `ACTIVE`.

    This verifies the e-mail address, and does not sign the user in. The token works once; a refused password does not
    use it up. If the user can be assigned tickets, unassigned tickets are assigned to them at once.
    """
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    user = await service.accept(services.database, services.secret_key, body.token, body.password)
    return User.of(user)

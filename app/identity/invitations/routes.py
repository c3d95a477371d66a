"""Invitations over HTTP."""

from __future__ import annotations

import hashlib
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from app.core.docs import answers
from app.core.errors import TooMany
from app.core.http import Route
from app.core.security import Busy
from app.identity.invitations import service
from app.identity.invitations.schemas import Acceptance, InvitationIn, InvitedOut
from app.identity.invitations.service import NewInvitation, NotInvited
from app.identity.links.service import LinkExpired
from app.identity.people.queries import UserNotFound
from app.identity.people.schemas import PersonOut
from app.identity.people.service import EmailTaken, WeakPassword
from app.organisations.access import database_of, may
from app.organisations.caller import BeyondYourRights, Caller
from app.organisations.permissions import Action, Resource

# Per organisation and address: to take an invitation back and make it again does not start anew.
INVITATION_LIMIT = "10/hour"

router = APIRouter(tags=["Users"], route_class=Route)

Inviter = Annotated[Caller, may(Resource.USERS, Action.CREATE)]
UserId = Annotated[UUID, Path(alias="id")]


async def _within_the_limit(request: Request, caller: Caller, email: str) -> None:
    # Not the address itself: what counts attempts may live in another system.
    hashed = hashlib.sha256(email.encode()).hexdigest()[:32]
    await request.app.state.limiter.hit(INVITATION_LIMIT, "invitation", str(caller.org_id), hashed)


@router.post(
    "/users",
    operation_id="inviteUser",
    summary="Invite somebody",
    status_code=201,
    responses=answers(EmailTaken, BeyondYourRights, TooMany, body=True, ok={201: ("Location",)}),
)
async def invite_user(body: InvitationIn, caller: Inviter, request: Request, response: Response) -> InvitedOut:
    """Make an account that is `INVITED` until its person has followed the mailed link and set a password.

    The link can be used once, within 7 days. The role, which `role` or `roleId` names, can have no permissions but
    those that you have yourself.
    """
    await _within_the_limit(request, caller, body.email)
    new = NewInvitation(
        first_name=body.first_name,
        last_name=body.last_name,
        email=body.email,
        role=body.role,
        role_id=body.role_id,
    )
    async with database_of(request).session(caller.org_id) as db:
        person, link = await service.invite(db, caller, new)
    response.headers["Location"] = f"/users/{person.id}"
    return InvitedOut.of_invitation(person, link)


@router.post(
    "/users/{id}/invitation",
    operation_id="resendInvitation",
    summary="Invite somebody again",
    responses=answers(UserNotFound, NotInvited, BeyondYourRights, TooMany),
)
async def resend_invitation(user_id: UserId, caller: Inviter, request: Request) -> InvitedOut:
    """Mail another link to somebody who is `INVITED`, for 7 days from now. Earlier ones stop working."""
    database = database_of(request)
    async with database.session(caller.org_id) as db:
        email = (await service.invited(db, caller, user_id)).email
    await _within_the_limit(request, caller, email)
    async with database.session(caller.org_id) as db:
        person, link = await service.resend(db, caller, user_id)
    return InvitedOut.of_invitation(person, link)


@router.delete(
    "/users/{id}/invitation",
    operation_id="cancelInvitation",
    summary="Take an invitation back",
    status_code=204,
    responses=answers(UserNotFound, NotInvited, BeyondYourRights),
)
async def cancel_invitation(user_id: UserId, caller: Inviter, request: Request) -> None:
    """Delete the account of somebody who is `INVITED`: the links stop working, and the e-mail is free again."""
    async with database_of(request).session(caller.org_id) as db:
        await service.cancel(db, caller, user_id)
    request.app.state.doorkeeper.forget()


@router.post(
    "/auth/invitation/accept",
    operation_id="acceptInvitation",
    summary="Accept an invitation with a link's token",
    responses=answers(LinkExpired, WeakPassword, TooMany, Busy, body=True),
)
async def accept_invitation(body: Acceptance, request: Request) -> PersonOut:
    """Set the password of the account that the token was mailed for: from now on it is `ACTIVE`.

    The e-mail is verified with it. A token works once; a password that is refused leaves it as it was. Nobody is
    signed in by this. Tickets that were waiting for somebody to become available are shared at once.
    """
    state = request.app.state
    await state.attempts.recovery(request.client.host if request.client else None)
    person = await service.accept(database_of(request), state.secret_key, body.token, body.password)
    state.doorkeeper.forget()
    return PersonOut.of(person)

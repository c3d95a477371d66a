"""People over HTTP: signing up, signing in, their own profile."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from fastapi import APIRouter, Request, Response

from app.core.docs import JWT, SECRET, answers, security
from app.core.errors import TooMany
from app.core.http import Route
from app.core.security import ACCESS_TOKEN_LIFETIME, Busy
from app.identity import service
from app.identity.attempts import Attempts
from app.identity.schemas import AdminSignUp, PersonOut, ProfileChange, SignedIn, SignIn
from app.identity.service import NewPerson
from app.organisations.access import ADMIN_ERRORS, PARTNER_ERRORS, AdminCaller, PartnerCaller, database_of

router = APIRouter(tags=["People"], route_class=Route)


def _attempts(request: Request) -> Attempts:
    return cast("Attempts", request.app.state.attempts)


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


@router.post(
    "/auth/admin/signup",
    operation_id="signUpAdmin",
    summary="Sign an admin up",
    status_code=201,
    responses=answers(
        *PARTNER_ERRORS, service.EmailTaken, service.WeakPassword, TooMany, Busy,
        body=True, ok={201: ("Location",)},
    ),
    openapi_extra=security(SECRET, {}),
)  # fmt: skip
async def sign_up_admin(body: AdminSignUp, caller: PartnerCaller, request: Request, response: Response) -> PersonOut:
    """Make an active admin of the secret's organisation, who is available for tickets at once.

    Tickets that were waiting for somebody are theirs when this answers. The secret comes in the header `X-Org-Secret`
    or in the body.
    """
    await _attempts(request).sign_up(caller.org_id, _address(request))
    new = NewPerson(body.first_name, body.last_name, body.email, body.password)
    password_hash = await service.hash_new_password(request.app.state.secret_key, caller.tenant, new)
    caller = replace(caller, now=caller.tenant.now())  # hashing took its time
    async with database_of(request).session(caller.org_id) as db:
        person = await service.sign_up_admin(db, caller, new, password_hash)
    response.headers["Location"] = "/me"
    return PersonOut.of(person)


@router.post(
    "/auth/admin/signin",
    operation_id="signInAdmin",
    summary="Sign in",
    responses=answers(service.WrongEmailOrPassword, service.OrgRequired, TooMany, Busy, body=True),
)
async def sign_in_admin(body: SignIn, request: Request) -> SignedIn:
    """Get an access token for `Authorization: Bearer …`, valid for half an hour.

    `org` (the organisation's domain) is needed only where the same e-mail and password fit two organisations.
    """
    attempts = _attempts(request)
    attempt = await attempts.sign_in(body.email, body.org, _address(request))
    try:
        session = await service.sign_in(
            database_of(request), request.app.state.secret_key, body.email, body.password, body.org
        )
    except service.WrongEmailOrPassword:
        await attempts.failed(attempt)
        raise
    except Exception:
        await attempts.take_back(attempt)
        raise
    await attempts.take_back(attempt)
    if session.is_only_account:
        await attempts.remember(attempt)
    return SignedIn(
        jwt=session.token,
        access_token=session.token,
        expires_in=int(ACCESS_TOKEN_LIFETIME.total_seconds()),
        user=PersonOut.of(session.person),
    )


@router.get(
    "/me",
    operation_id="getMe",
    summary="Read your own profile",
    responses=answers(*ADMIN_ERRORS),
    openapi_extra=security(JWT),
)
async def get_me(caller: AdminCaller, request: Request) -> PersonOut:
    """The signed-in person."""
    async with database_of(request).session(caller.org_id) as db:
        return PersonOut.of(await service.me(db, caller))


@router.patch(
    "/me",
    operation_id="changeMe",
    summary="Change your own profile",
    responses=answers(*ADMIN_ERRORS, body=True),
    openapi_extra=security(JWT),
)
async def change_me(body: ProfileChange, caller: AdminCaller, request: Request) -> PersonOut:
    """Change your name, or whether new tickets may be assigned to you.

    Whoever becomes available gets the tickets that were waiting, oldest first, shared with the others who are.
    """
    async with database_of(request).session(caller.org_id) as db:
        person = await service.change_profile(db, caller, body.model_dump(exclude_unset=True))
    request.app.state.doorkeeper.forget()
    return PersonOut.of(person)

"""People over HTTP: signing up, signing in, their own profile."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from fastapi import APIRouter, Request, Response

from app.core.docs import answers
from app.core.errors import TooMany
from app.core.http import Route
from app.core.security import Busy
from app.identity.attempts import Attempts
from app.identity.people import service
from app.identity.people.schemas import AdminSignUp, PersonOut, ProfileChange
from app.identity.people.service import NewPerson
from app.organisations.access import Myself, MyselfAtOnce, Product, database_of

router = APIRouter(tags=["Signing in"], route_class=Route)


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
        service.EmailTaken, service.WeakPassword, TooMany, Busy,
        body=True, ok={201: ("Location",)},
    ),
)  # fmt: skip
async def sign_up_admin(body: AdminSignUp, caller: Product, request: Request, response: Response) -> PersonOut:
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


@router.get(
    "/me",
    operation_id="getMe",
    summary="Read your own profile",
    responses=answers(),
)
async def get_me(caller: MyselfAtOnce, request: Request) -> PersonOut:
    """The signed-in person."""
    async with database_of(request).session(caller.org_id) as db:
        return PersonOut.of(await service.me(db, caller))


@router.patch(
    "/me",
    operation_id="changeMe",
    summary="Change your own profile",
    responses=answers(body=True),
)
async def change_me(body: ProfileChange, caller: Myself, request: Request) -> PersonOut:
    """Change your name, or whether new tickets may be assigned to you.

    Whoever becomes available gets the tickets that were waiting, oldest first, shared with the others who are.
    """
    async with database_of(request).session(caller.org_id) as db:
        person = await service.change_profile(db, caller, body.model_dump(exclude_unset=True))
    request.app.state.doorkeeper.forget()
    return PersonOut.of(person)

"""Somebody's own profile over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import MISSING

from app.access.requirements import Myself, MyselfAtOnce, acting_at_once, database_of
from app.accounts.profiles import service as profile
from app.accounts.profiles.schemas import Profile, ProfileUpdate
from app.core.web.openapi import answers
from app.core.web.routing import Route

router = APIRouter(tags=["Profile"], route_class=Route)


@router.get(
    "/me",
    operation_id="getMe",
    summary="Read your own profile",
    responses=answers(),
)
async def get_me(caller: MyselfAtOnce, request: Request) -> Profile:
    """The signed-in user, with their preferences and what they may do."""
    async with database_of(request).session(caller.org_id) as db:
        return Profile.of(await profile.read(db, caller))


@router.patch(
    "/me",
    operation_id="changeMe",
    summary="Change your own profile",
    responses=answers(profile.CustomerNotAvailable, body=True),
)
async def change_me(body: ProfileUpdate, caller: Myself, request: Request) -> Profile:
    """Change what you say of yourself, which mails you want, or whether new tickets may be assigned to you.

    Whoever becomes available gets the tickets that were waiting, oldest first, shared with the others who are. No
    tickets are assigned to customers, who are therefore refused `available`.
    """
    wanted_mails = {} if body.notifications is MISSING else body.notifications.by_kind()
    async with acting_at_once(request, caller.org_id, caller.somebody.id) as db:
        user = await profile.change(db, caller, body.changes(), wanted_mails)
    return Profile.of(user)

"""Somebody's own profile over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import MISSING

from app.access.dependencies import transaction_refreshing_credentials
from app.access.requirements import CurrentUser, CurrentUserBefore2FA
from app.access.services import services_of
from app.accounts.profiles import service as profile
from app.accounts.profiles.schemas import Profile, ProfileUpdate
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(tags=["Profile"], route_class=Route)


@router.get(
    "/me",
    operation_id="getMe",
    summary="Read your own profile",
    responses=responses(),
)
async def get_me(caller: CurrentUserBefore2FA, request: Request) -> Profile:
    """The signed-in user, with their preferences and what they may do."""
    async with services_of(request).database.session(caller.org_id) as db:
        return Profile.of(await profile.read(db, caller))


@router.patch(
    "/me",
    operation_id="changeMe",
    summary="Change your own profile",
    responses=responses(profile.CustomerNotAvailable, body=True),
)
async def change_me(body: ProfileUpdate, caller: CurrentUser, request: Request) -> Profile:
    """Change what you say of yourself, which mails you want, or whether new tickets may be assigned to you.

    Whoever becomes available gets the tickets that were waiting, oldest first, shared with the others who are. No
    tickets are assigned to customers, who are therefore refused `available`.
    """
    wanted_mails = {} if body.notifications is MISSING else body.notifications.by_kind()
    async with transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db:
        user = await profile.change(db, caller, body.changes(), wanted_mails)
    return Profile.of(user)

"""Somebody's own profile over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.access.dependencies import transaction_refreshing_credentials
from app.access.requirements import CurrentUser, CurrentUserBefore2FA
from app.access.services import services_of
from app.accounts.profiles import service as profile
from app.accounts.profiles.schemas import ProfileChange, ProfileOut
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(tags=["Profile"], route_class=Route)


@router.get(
    "/me",
    operation_id="getMe",
    summary="Read your own profile",
    responses=responses(),
)
async def get_me(caller: CurrentUserBefore2FA, request: Request) -> ProfileOut:
    """The signed-in user, with their preferences and what they may do."""
    async with services_of(request).database.session(caller.org_id) as db:
        return ProfileOut.of(await profile.read(db, caller))


@router.patch(
    "/me",
    operation_id="changeMe",
    summary="Change your own profile",
    responses=responses(profile.CustomerNotAvailable, body=True),
)
async def change_me(body: ProfileChange, caller: CurrentUser, request: Request) -> ProfileOut:
    """Change what you say of yourself, which mails you want, or whether new tickets may be assigned to you.

    Whoever becomes available gets the tickets that were waiting, oldest first, shared with the others who are. No
    tickets are assigned to customers, who are therefore refused `available`.
    """
    changes = body.model_dump(exclude_unset=True, exclude={"notifications"})
    wanted_mails = body.notifications.by_kind() if body.notifications else {}
    async with transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db:
        user = await profile.change(db, caller, changes, wanted_mails)
    return ProfileOut.of(user)

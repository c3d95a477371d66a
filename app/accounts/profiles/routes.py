"""The caller's own profile over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import MISSING

from app.access.operation_requirements import CurrentUser, CurrentUserBefore2FA
from app.access.services import get_services
from app.access.transactions import transaction_refreshing_credentials
from app.accounts.profiles import service
from app.accounts.profiles.schemas import Profile, ProfileUpdate
from app.accounts.users import queries
from app.accounts.users.errors import CustomerNotAvailable
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(tags=["Profile"], route_class=Route)


@router.get(
    "/me",
    operation_id="getMe",
    summary="Get your profile",
    responses=responses(),
)
async def get_me(caller: CurrentUserBefore2FA, request: Request) -> Profile:
    """Get the signed-in user, with preferences and permissions."""
    async with get_services(request).database.session(caller.org_id) as db:
        return Profile.of(await queries.get_caller(db, caller))


@router.patch(
    "/me",
    operation_id="changeMe",
    summary="Change your profile",
    responses=responses(CustomerNotAvailable, body=True),
)
async def change_me(body: ProfileUpdate, caller: CurrentUser, request: Request) -> Profile:
    """Change your name and details, the mails you want, or whether new tickets may be assigned to you.

    When you become available, unassigned tickets are distributed among all available users, oldest first.
    Tickets are not assigned to customers, so customers cannot be available. The body may have all fields that `GET /me`
    gives; those that cannot be changed must have the same values.
    """
    wanted_mails = {} if body.notifications is MISSING else body.notifications.by_kind()
    async with transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db:
        user = await service.change(db, caller, body.changes(), wanted_mails, body.check_unchanged)
    return Profile.of(user)

"""The reset of a user's second factor by an admin, over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request

from app.access.callers import UserCaller
from app.access.errors import PrivilegeEscalation
from app.access.operation_requirements import requires
from app.access.transactions import transaction_refreshing_credentials
from app.access.trust_requirements import Applies
from app.access.user_permissions import Action, Resource
from app.accounts.users.errors import UserNotFound
from app.authentication.second_factor import service
from app.authentication.second_factor.errors import SecondFactorNotSetUp
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(tags=["Users"], route_class=Route)

Editor = Annotated[UserCaller, requires(Resource.USERS, Action.UPDATE, fresh=Applies.ALWAYS)]


@router.delete(
    "/users/{id}/2fa",
    operation_id="resetUserSecondFactor",
    summary="Reset a user's second factor",
    status_code=204,
    responses=responses(UserNotFound, PrivilegeEscalation, SecondFactorNotSetUp),
)
async def reset_user_second_factor(
    user_id: Annotated[UUID, Path(alias="id")], caller: Editor, request: Request
) -> None:
    """Remove the second factor of a user who has lost their authenticator and recovery codes.

    Before you call this, check the user's identity.

    The user is signed out everywhere, gets a mail, and signs in with the password alone. If the organisation requires a
    second factor of them, they must then set up a new one. Disable your own with a code, at `POST /auth/2fa/disable`.
    """
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        await service.reset(db, caller, user_id)

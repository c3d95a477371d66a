"""The repeated authentication over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.operation_requirements import CurrentUserBefore2FA
from app.access.services import get_services
from app.access.transactions import transaction_refreshing_credentials
from app.authentication.errors import NoPassword, WrongPassword
from app.authentication.reauthentication import service
from app.authentication.reauthentication.schemas import FreshSession, Reauthentication
from app.authentication.second_factor.codes import SubmittedCode, counting_attempts
from app.authentication.second_factor.errors import WrongCode
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.client_address import address_of
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(prefix="/auth", tags=["Signing in"], route_class=Route)


@router.post(
    "/reauthenticate",
    operation_id="reauthenticate",
    summary="Prove again who you are",
    responses=responses(WrongPassword, NoPassword, WrongCode, TooMany, Busy, body=True),
)
@limited(Limit.SIGN_IN)
async def reauthenticate(body: Reauthentication, caller: CurrentUserBefore2FA, request: Request) -> FreshSession:
    """Make this session fresh for five minutes, as a new sign-in would be.

    Operations that change whom to trust respond with 403 `reauthentication_required` unless the session is fresh: a
    stolen access token is then not enough. Repeat them after this. Users without a password sign in at their provider
    again instead. A user with a second factor sends a code as well.
    """
    services = get_services(request)
    attempts, address = services.attempts, address_of(request)
    async with attempts.counting_confirmation(caller.user.id, address, failure=WrongPassword):
        user, credential = await service.check_password(services.database, caller, body.password)
    code = SubmittedCode.of_user(user, body.totp, body.recovery_code)
    async with (
        counting_attempts(attempts, caller.user, code),
        transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db,
    ):
        fresh_until = await service.reauthenticate(db, services.secret_key, caller, credential, code)
    return FreshSession(fresh_until=fresh_until)

"""Passwords over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.operation_requirements import CurrentUser
from app.access.services import get_services
from app.access.transactions import invalidate_credentials
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.users.errors import WeakPassword
from app.authentication.errors import NoPassword, WrongPassword
from app.authentication.link_mails import RESPONSE_TIME_STEP
from app.authentication.passwords import service
from app.authentication.passwords.errors import SamePassword
from app.authentication.passwords.schemas import PasswordChange, PasswordReset, PasswordResetRequest
from app.authentication.schemas import MailRequestAccepted
from app.authentication.timing import round_up_duration
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.client_address import address_of
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(prefix="/auth/password", tags=["Signing in"], route_class=Route)


@router.post(
    "/forgot",
    operation_id="forgotPassword",
    summary="Request a link that resets a password",
    status_code=202,
    responses=responses(TooMany, body=True),
)
@limited(Limit.LINKS)
async def forgot_password(body: PasswordResetRequest, request: Request) -> MailRequestAccepted:
    """Mail a link to every active account of the e-mail. Its token is for `POST /auth/password/reset`, for 30 minutes.

    The response is the same, after the same time, whether or not there is such an account.
    """
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    async with round_up_duration(RESPONSE_TIME_STEP):
        await service.mail_reset_links(services.database, services.attempts, body.email, body.org, address_of(request))
    return MailRequestAccepted()


@router.post(
    "/reset",
    operation_id="resetPassword",
    summary="Set a new password with a link's token",
    status_code=204,
    responses=responses(LinkExpired, WeakPassword, TooMany, Busy, body=True),
)
@limited(Limit.LINKS)
async def reset_password(body: PasswordReset, request: Request) -> None:
    """Set the password of the account to which the token was mailed. A token works once.

    All sessions of the account end, and the request opens none: sign in with the new password, and with the second
    factor if there is one. If the e-mail was not verified before, a second factor is removed: another person may have
    signed up with the address. A refused password does not use up the token.
    """
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    user = await service.reset_password(services.database, services.secret_key, body.token, body.new_password)
    invalidate_credentials(request, user.org_id, user.id)


@router.post(
    "/change",
    operation_id="changePassword",
    summary="Change your password",
    status_code=204,
    responses=responses(WrongPassword, NoPassword, SamePassword, WeakPassword, TooMany, Busy, body=True),
)
@limited(Limit.SIGN_IN)
async def change_password(body: PasswordChange, caller: CurrentUser, request: Request) -> None:
    """Change your password; the current one is required. Your other sessions end, and this one continues.

    Links that were mailed to reset the password or to change the e-mail stop working.
    """
    services = get_services(request)
    async with services.attempts.counting_confirmation(caller.user.id, address_of(request), failure=WrongPassword):
        await service.change_password(
            services.database, services.secret_key, caller, body.current_password, body.new_password
        )
    invalidate_credentials(request, caller.org_id, caller.user.id)

"""Recovery over HTTP: passwords and e-mail addresses."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, Request

from app.access.attempts import Attempt
from app.access.callers import UserCaller
from app.access.dependencies import address_of, invalidate_credentials, transaction_refreshing_credentials
from app.access.requirements import CurrentUser
from app.access.services import services_of
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.users.errors import WeakPassword
from app.authentication.email_addresses import service as emails
from app.authentication.email_addresses.service import NewEmail, SameEmail
from app.authentication.passwords import service
from app.authentication.passwords.schemas import (
    EmailChangeAccepted,
    EmailChangeRequest,
    EmailVerification,
    MailRequestAccepted,
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
    VerificationMailRequest,
    VerifiedEmail,
)
from app.authentication.passwords.service import NoPassword, SamePassword, WrongPassword
from app.authentication.timing import in_whole_steps
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.openapi import responses
from app.core.web.routing import Route

# Long enough to write to as many accounts as are written to.
ANSWER_EVERY = 0.25  # seconds

router = APIRouter(prefix="/auth", tags=["Signing in"], route_class=Route)


@router.post(
    "/password/forgot",
    operation_id="forgotPassword",
    summary="Ask for a link that resets a password",
    status_code=202,
    responses=responses(TooMany, body=True),
)
async def forgot_password(body: PasswordResetRequest, request: Request) -> MailRequestAccepted:
    """Mail a link to every active account of the e-mail. Its token is for `POST /auth/password/reset`, for 30 minutes.

    The answer is the same, after the same time, whether or not there is one.
    """
    services = services_of(request)
    await services.attempts.count_recovery(address_of(request))
    async with in_whole_steps(ANSWER_EVERY):
        await service.forget_password(services.database, services.attempts, body.email, body.org)
    return MailRequestAccepted()


@router.post(
    "/password/reset",
    operation_id="resetPassword",
    summary="Set a new password with a link's token",
    status_code=204,
    responses=responses(LinkExpired, WeakPassword, TooMany, Busy, body=True),
)
async def reset_password(body: PasswordReset, request: Request) -> None:
    """Set the password of the account whose mail held the token. A token works once.

    All of the account's sessions end, and nobody is signed in by this: that takes the new password, and the second
    factor where there is one. A password that is refused leaves the token as it was.
    """
    services = services_of(request)
    await services.attempts.count_recovery(address_of(request))
    user = await service.reset_password(services.database, services.secret_key, body.token, body.new_password)
    invalidate_credentials(request, user.org_id, user.id)


@router.post(
    "/password/change",
    operation_id="changePassword",
    summary="Change your own password",
    status_code=204,
    responses=responses(WrongPassword, NoPassword, SamePassword, WeakPassword, TooMany, Busy, body=True),
)
async def change_password(body: PasswordChange, caller: CurrentUser, request: Request) -> None:
    """Set another password, knowing the present one. Your other sessions end; this one goes on.

    Links that were mailed to reset the password or to change the e-mail stop working.
    """
    services = services_of(request)
    async with _counting_confirmation(request, caller):
        await service.change_password(
            services.database, services.secret_key, caller, body.current_password, body.new_password
        )
    invalidate_credentials(request, caller.org_id, caller.user.id)


@router.post(
    "/email/verify",
    operation_id="verifyEmail",
    summary="Prove an e-mail with a link's token",
    responses=responses(LinkExpired, TooMany, body=True),
)
async def verify_email(body: EmailVerification, request: Request) -> VerifiedEmail:
    """Confirm that the address that the token was mailed to is yours. A token works once.

    With a token of `POST /auth/email/change`, the address becomes that of the account.
    """
    services = services_of(request)
    await services.attempts.count_recovery(address_of(request))
    named = links.parse_token(services.secret_key, body.token)
    async with transaction_refreshing_credentials(request, named.org_id) as db:
        user = await emails.verify_email(db, named)
    return VerifiedEmail(email=user.email)


@router.post(
    "/email/resend",
    operation_id="resendVerification",
    summary="Ask for another link that proves an e-mail",
    status_code=202,
    responses=responses(TooMany, body=True),
)
async def resend_verification(body: VerificationMailRequest, request: Request) -> MailRequestAccepted:
    """Mail a link to every account of the e-mail that has not been proved yet.

    Its token is for `POST /auth/email/verify`, for three days.
    The answer is the same, after the same time, whether or not there is one.
    """
    services = services_of(request)
    await services.attempts.count_recovery(address_of(request))
    async with in_whole_steps(ANSWER_EVERY):
        await emails.resend_verification(services.database, services.attempts, body.email, body.org)
    return MailRequestAccepted()


@router.post(
    "/email/change",
    operation_id="changeEmail",
    summary="Change your own e-mail",
    status_code=202,
    responses=responses(WrongPassword, SameEmail, TooMany, Busy, body=True),
)
async def change_email(body: EmailChangeRequest, caller: CurrentUser, request: Request) -> EmailChangeAccepted:
    """Mail a link to the new address; `POST /auth/email/verify` with its token makes the change, within a day.

    The old address is told of it then. To ask again replaces what was asked before. The answer is the same if somebody
    else has the new address.
    """
    services = services_of(request)
    await services.attempts.count_mail("change", body.email)
    async with _counting_confirmation(request, caller), in_whole_steps(ANSWER_EVERY):
        new = NewEmail(body.email, body.password)
        await emails.change_email(services.database, services.secret_key, caller, new)
    return EmailChangeAccepted()


def _counting_confirmation(request: Request, caller: UserCaller) -> AbstractAsyncContextManager[Attempt]:
    """Limit guesses at the caller's password in the same way as those of sign-ins."""
    return services_of(request).attempts.counting_confirmation(
        caller.user.id, address_of(request), failure=WrongPassword
    )

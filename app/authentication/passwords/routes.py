"""Recovery over HTTP: passwords and e-mail addresses."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, Request

from app.access.attempts import Attempt
from app.access.callers import Caller
from app.access.requirements import (
    Myself,
    acting_at_once,
    address_of,
    attempts_of,
    database_of,
    forget_credentials,
    secret_key_of,
)
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.service import LinkExpired
from app.accounts.users.creation import WeakPassword
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
from app.core.security.passwords import Busy
from app.core.web.openapi import answers
from app.core.web.routing import Route

# Long enough to write to as many accounts as are written to.
ANSWER_EVERY = 0.25  # seconds

router = APIRouter(prefix="/auth", tags=["Signing in"], route_class=Route)


@router.post(
    "/password/forgot",
    operation_id="forgotPassword",
    summary="Ask for a link that resets a password",
    status_code=202,
    responses=answers(TooMany, body=True),
)
async def forgot_password(body: PasswordResetRequest, request: Request) -> MailRequestAccepted:
    """Mail a link to every active account of the e-mail. Its token is for `POST /auth/password/reset`, for 30 minutes.

    The answer is the same, after the same time, whether or not there is one.
    """
    await attempts_of(request).recovery(address_of(request))
    async with in_whole_steps(ANSWER_EVERY):
        await service.forget_password(database_of(request), attempts_of(request), body.email, body.org)
    return MailRequestAccepted()


@router.post(
    "/password/reset",
    operation_id="resetPassword",
    summary="Set a new password with a link's token",
    status_code=204,
    responses=answers(LinkExpired, WeakPassword, TooMany, Busy, body=True),
)
async def reset_password(body: PasswordReset, request: Request) -> None:
    """Set the password of the account whose mail held the token. A token works once.

    All of the account's sessions end, and nobody is signed in by this: that takes the new password, and the second
    factor where there is one. A password that is refused leaves the token as it was.
    """
    await attempts_of(request).recovery(address_of(request))
    user = await service.reset_password(database_of(request), secret_key_of(request), body.token, body.new_password)
    forget_credentials(request, user.org_id, user.id)


@router.post(
    "/password/change",
    operation_id="changePassword",
    summary="Change your own password",
    status_code=204,
    responses=answers(WrongPassword, NoPassword, SamePassword, WeakPassword, TooMany, Busy, body=True),
)
async def change_password(body: PasswordChange, caller: Myself, request: Request) -> None:
    """Set another password, knowing the present one. Your other sessions end; this one goes on.

    Links that were mailed to reset the password or to change the e-mail stop working.
    """
    async with _confirming(request, caller):
        await service.change_password(
            database_of(request), secret_key_of(request), caller, body.current_password, body.new_password
        )
    forget_credentials(request, caller.org_id, caller.somebody.id)


@router.post(
    "/email/verify",
    operation_id="verifyEmail",
    summary="Prove an e-mail with a link's token",
    responses=answers(LinkExpired, TooMany, body=True),
)
async def verify_email(body: EmailVerification, request: Request) -> VerifiedEmail:
    """Confirm that the address that the token was mailed to is yours. A token works once.

    With a token of `POST /auth/email/change`, the address becomes that of the account.
    """
    await attempts_of(request).recovery(address_of(request))
    named = links.read(secret_key_of(request), body.token)
    async with acting_at_once(request, named.org_id) as db:
        user = await emails.verify_email(db, named)
    return VerifiedEmail(email=user.email)


@router.post(
    "/email/resend",
    operation_id="resendVerification",
    summary="Ask for another link that proves an e-mail",
    status_code=202,
    responses=answers(TooMany, body=True),
)
async def resend_verification(body: VerificationMailRequest, request: Request) -> MailRequestAccepted:
    """Mail a link to every account of the e-mail that has not been proved yet.

    Its token is for `POST /auth/email/verify`, for three days.
    The answer is the same, after the same time, whether or not there is one.
    """
    await attempts_of(request).recovery(address_of(request))
    async with in_whole_steps(ANSWER_EVERY):
        await emails.resend_verification(database_of(request), attempts_of(request), body.email, body.org)
    return MailRequestAccepted()


@router.post(
    "/email/change",
    operation_id="changeEmail",
    summary="Change your own e-mail",
    status_code=202,
    responses=answers(WrongPassword, SameEmail, TooMany, Busy, body=True),
)
async def change_email(body: EmailChangeRequest, caller: Myself, request: Request) -> EmailChangeAccepted:
    """Mail a link to the new address; `POST /auth/email/verify` with its token makes the change, within a day.

    The old address is told of it then. To ask again replaces what was asked before. The answer is the same if somebody
    else has the new address.
    """
    await attempts_of(request).mail("change", body.email)
    async with _confirming(request, caller), in_whole_steps(ANSWER_EVERY):
        new = NewEmail(body.email, body.password)
        await emails.change_email(database_of(request), secret_key_of(request), caller, new)
    return EmailChangeAccepted()


def _confirming(request: Request, caller: Caller) -> AbstractAsyncContextManager[Attempt]:
    """Throttle guesses at the caller's password, as those of strangers who sign in."""
    return attempts_of(request).confirm(caller.somebody.id, address_of(request), failure=WrongPassword)

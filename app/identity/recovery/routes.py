"""Recovery over HTTP: passwords and e-mail addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request

from app.core.docs import answers
from app.core.errors import TooMany
from app.core.http import Route
from app.core.security import Busy
from app.identity.links import service as links
from app.identity.links.service import LinkExpired
from app.identity.people.service import WeakPassword
from app.identity.recovery import emails, service
from app.identity.recovery.emails import NewEmail, SameEmail
from app.identity.recovery.pace import in_whole_steps
from app.identity.recovery.schemas import (
    AccountOf,
    EmailChange,
    EmailChangeRequested,
    EmailProof,
    EmailProved,
    PasswordChange,
    PasswordReset,
    PerhapsMailed,
)
from app.identity.recovery.service import NoPassword, SamePassword, WrongPassword
from app.identity.sessions.routes import address_of, attempts_of
from app.organisations.access import Myself, database_of
from app.organisations.caller import Caller

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
async def forgot_password(body: AccountOf, request: Request) -> PerhapsMailed:
    """Mail a link to every active account of the e-mail, with which a new password can be set within 30 minutes.

    The answer is the same, after the same time, whether or not there is one.
    """
    await attempts_of(request).recovery(address_of(request))
    async with in_whole_steps(ANSWER_EVERY):
        if await attempts_of(request).may_mail("reset", body.email):
            await service.forget_password(database_of(request), body.email, body.org)
    return PerhapsMailed()


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
    await service.reset_password(database_of(request), request.app.state.secret_key, body.token, body.new_password)
    request.app.state.doorkeeper.forget()


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
            database_of(request), request.app.state.secret_key, caller, body.current_password, body.new_password
        )
    request.app.state.doorkeeper.forget()


@router.post(
    "/email/verify",
    operation_id="verifyEmail",
    summary="Prove an e-mail with a link's token",
    responses=answers(LinkExpired, TooMany, body=True),
)
async def verify_email(body: EmailProof, request: Request) -> EmailProved:
    """Confirm that the address that the token was mailed to is yours. A token works once.

    With a token of `POST /auth/email/change`, the address becomes that of the account.
    """
    await attempts_of(request).recovery(address_of(request))
    named = links.read(request.app.state.secret_key, body.token)
    async with database_of(request).session(named.org_id) as db:
        person = await emails.verify_email(db, named)
    request.app.state.doorkeeper.forget()
    return EmailProved(email=person.email)


@router.post(
    "/email/resend",
    operation_id="resendVerification",
    summary="Ask for another link that proves an e-mail",
    status_code=202,
    responses=answers(TooMany, body=True),
)
async def resend_verification(body: AccountOf, request: Request) -> PerhapsMailed:
    """Mail a link to every account of the e-mail that has not been proved yet.

    The answer is the same, after the same time, whether or not there is one.
    """
    await attempts_of(request).recovery(address_of(request))
    async with in_whole_steps(ANSWER_EVERY):
        if await attempts_of(request).may_mail("verify", body.email):
            await emails.resend_verification(database_of(request), body.email, body.org)
    return PerhapsMailed()


@router.post(
    "/email/change",
    operation_id="changeEmail",
    summary="Change your own e-mail",
    status_code=202,
    responses=answers(WrongPassword, SameEmail, TooMany, Busy, body=True),
)
async def change_email(body: EmailChange, caller: Myself, request: Request) -> EmailChangeRequested:
    """Mail a link to the new address; `POST /auth/email/verify` with its token makes the change, within a day.

    The old address is told of it then. The answer is the same if somebody else has the new address.
    """
    await attempts_of(request).mail("change", body.email)
    async with _confirming(request, caller), in_whole_steps(ANSWER_EVERY):
        new = NewEmail(body.email, body.password)
        await emails.change_email(database_of(request), request.app.state.secret_key, caller, new)
    return EmailChangeRequested()


@asynccontextmanager
async def _confirming(request: Request, caller: Caller) -> AsyncIterator[None]:
    """Throttle guesses at the caller's password, as those of strangers who sign in."""
    attempts = attempts_of(request)
    attempt = await attempts.confirm(caller.somebody.id, address_of(request))
    try:
        yield
    except WrongPassword:
        await attempts.failed(attempt)
        raise
    except Exception:
        await attempts.take_back(attempt)
        raise
    await attempts.take_back(attempt)

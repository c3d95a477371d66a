"""E-mail addresses over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import MISSING

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.operation_requirements import CurrentUserSometimesFresh
from app.access.services import get_services
from app.access.transactions import transaction_refreshing_credentials
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.authentication.email_addresses import service
from app.authentication.email_addresses.errors import AccountNotConfirmed, SameEmail
from app.authentication.email_addresses.schemas import (
    AccountOfLink,
    EmailChangeAccepted,
    EmailChangeRequest,
    EmailLinkToken,
    EmailVerification,
    VerificationMailRequest,
    VerifiedEmail,
)
from app.authentication.email_addresses.service import NewEmail
from app.authentication.errors import WrongPassword
from app.authentication.link_mails import RESPONSE_TIME_STEP
from app.authentication.schemas import MailRequestAccepted
from app.authentication.timing import round_up_duration
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.client_address import address_of
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(prefix="/auth/email", tags=["Signing in"], route_class=Route)


@router.post(
    "/verify",
    operation_id="verifyEmail",
    summary="Verify an e-mail with a link's token",
    responses=responses(LinkExpired, AccountNotConfirmed, TooMany, body=True),
)
@limited(Limit.LINKS)
async def verify_email(body: EmailVerification, request: Request) -> VerifiedEmail:
    """Verify that the address to which the token was mailed is yours. A token works once.

    With a token of `POST /auth/email/change`, the address becomes that of the account. Tickets for the address belong
    to the account from then on. Another person may have signed up with the address, so first show the user whose
    account it is, with `POST /auth/email/lookup`, and send its `account` if they confirm that it is theirs. Without
    `account`, links of an organisation with an `appUrl` get a 409.
    """
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    subject = links.parse_token(services.secret_key, body.token)
    account_id = None if body.account is MISSING else body.account
    async with transaction_refreshing_credentials(request, subject.org_id) as db:
        user = await service.verify_email(db, subject, account_id)
    return VerifiedEmail(email=user.email)


@router.post(
    "/lookup",
    operation_id="lookUpEmailLink",
    summary="Get the account of a link that verifies an e-mail",
    responses=responses(LinkExpired, TooMany, body=True),
)
@limited(Limit.LINKS)
async def look_up_email_link(body: EmailLinkToken, request: Request) -> AccountOfLink:
    """Get whose account the address will belong to. This changes nothing, and the token stays valid.

    Show it to the user with two choices: it is theirs (`POST /auth/email/verify`), or they did not ask for this
    (`POST /auth/email/disown`).
    """
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    subject = links.parse_token(services.secret_key, body.token)
    async with services.database.session(subject.org_id) as db:
        return AccountOfLink.of(await service.look_up_account(db, subject))


@router.post(
    "/disown",
    operation_id="disownEmail",
    summary="Refuse an account that uses your e-mail",
    status_code=204,
    responses=responses(LinkExpired, TooMany, body=True),
)
@limited(Limit.LINKS)
async def disown_email(body: EmailLinkToken, request: Request) -> None:
    """Say that the account is not yours, although its address is. The token works once.

    A sign-up is erased, and the address is free again. An admin or an engineer whose account is active is suspended
    instead, and the last admin of an organisation only signed out. A change of the e-mail to your address is cancelled.
    """
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    subject = links.parse_token(services.secret_key, body.token)
    async with transaction_refreshing_credentials(request, subject.org_id) as db:
        await service.disown(db, subject)


@router.post(
    "/resend",
    operation_id="resendVerification",
    summary="Request another link that verifies an e-mail",
    status_code=202,
    responses=responses(TooMany, body=True),
)
@limited(Limit.LINKS)
async def resend_verification(body: VerificationMailRequest, request: Request) -> MailRequestAccepted:
    """Mail a link to every account of the e-mail that has not verified it yet.

    Its token is for `POST /auth/email/verify`, for three days.
    The response is the same, after the same time, whether or not there is such an account.
    """
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    async with round_up_duration(RESPONSE_TIME_STEP):
        await service.mail_verification_links(
            services.database, services.attempts, body.email, body.org, address_of(request)
        )
    return MailRequestAccepted()


@router.post(
    "/change",
    operation_id="changeEmail",
    summary="Change your e-mail",
    status_code=202,
    responses=responses(WrongPassword, SameEmail, TooMany, Busy, body=True),
)
@limited(Limit.SIGN_IN)
async def change_email(
    body: EmailChangeRequest, caller: CurrentUserSometimesFresh, request: Request
) -> EmailChangeAccepted:
    """Mail a link to the new address; `POST /auth/email/verify` with its token makes the change, within a day.

    Send your password. An account that has none needs a sign-in within the last five minutes.

    The old address is notified when the change is made. Another request replaces this one. The response is the same if
    another user has the new address.
    """
    services = get_services(request)
    async with (
        services.attempts.counting_email_change(caller.user.id, body.email),
        services.attempts.counting_confirmation(caller.user.id, address_of(request), failure=WrongPassword),
        round_up_duration(RESPONSE_TIME_STEP),
    ):
        sends_mail = await services.attempts.count_mail(body.email, address_of(request))
        new = NewEmail(body.email, body.password, address_of(request), sends_mail=sends_mail)
        await service.request_email_change(services.database, services.secret_key, caller, new)
    return EmailChangeAccepted()

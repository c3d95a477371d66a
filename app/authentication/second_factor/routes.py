"""The second factor over HTTP."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.operation_requirements import CurrentUserBefore2FA, FreshUserBefore2FA
from app.access.services import get_services
from app.access.transactions import transaction_refreshing_credentials
from app.accounts.users.errors import EmailNotVerified
from app.authentication.second_factor import service
from app.authentication.second_factor.codes import SubmittedCode, counting_attempts
from app.authentication.second_factor.errors import (
    SecondFactorActive,
    SecondFactorMandatory,
    SecondFactorNotSetUp,
    WrongCode,
)
from app.authentication.second_factor.qr_code import draw_qr_code
from app.authentication.second_factor.schemas import (
    RecoveryCodes,
    SecondFactorCode,
    SecondFactorProof,
    SecondFactorSetup,
)
from app.core.errors import TesseraError, TooMany
from app.core.request_turns import give_back_current_turn
from app.core.threads import Busy
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(prefix="/auth/2fa", tags=["Signing in"], route_class=Route)


def _responses_with_code(*errors: type[TesseraError]) -> dict[int | str, Any]:
    return responses(WrongCode, SecondFactorNotSetUp, *errors, TooMany, body=True)


@router.post(
    "/setup",
    operation_id="setUpSecondFactor",
    summary="Set up a second factor",
    responses=responses(SecondFactorActive, EmailNotVerified, Busy),
)
async def set_up(caller: FreshUserBefore2FA, request: Request) -> SecondFactorSetup:
    """Get a secret for your authenticator app. It has no effect until you confirm it.

    Confirm it with `POST /auth/2fa/confirm`. Another request before that replaces the secret. Your e-mail must be
    verified: `POST /auth/email/resend` mails a link. Where a second factor is mandatory, that comes first.
    """
    async with get_services(request).database.session(caller.org_id) as db:
        secret = await service.set_up(db, get_services(request).secret_key, caller)
    give_back_current_turn()
    return SecondFactorSetup.of(secret, await draw_qr_code(secret.uri))


@router.post(
    "/confirm",
    operation_id="confirmSecondFactor",
    summary="Confirm the second factor",
    responses=_responses_with_code(SecondFactorActive, EmailNotVerified),
)
@limited(Limit.SECOND_FACTOR)
async def confirm(body: SecondFactorCode, caller: CurrentUserBefore2FA, request: Request) -> RecoveryCodes:
    """Prove with a code that your authenticator has the secret. From now on, signing in requires a code too (`totp`).

    The response contains ten recovery codes, for when you lose the authenticator. They are shown only once.
    """
    async with (
        counting_attempts(get_services(request).attempts, caller.user, SubmittedCode(totp=body.code)),
        transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db,
    ):
        codes = await service.confirm(db, get_services(request).secret_key, caller, body.code)
    return RecoveryCodes(recovery_codes=codes)


@router.post(
    "/recovery-codes",
    operation_id="renewRecoveryCodes",
    summary="Get new recovery codes",
    responses=_responses_with_code(),
)
@limited(Limit.SECOND_FACTOR)
async def renew_recovery_codes(body: SecondFactorCode, caller: FreshUserBefore2FA, request: Request) -> RecoveryCodes:
    """Get ten new recovery codes, which are shown only once. The previous ones stop working."""
    async with (
        counting_attempts(get_services(request).attempts, caller.user, SubmittedCode(totp=body.code)),
        get_services(request).database.session(caller.org_id) as db,
    ):
        codes = await service.renew_recovery_codes(db, get_services(request).secret_key, caller, body.code)
    return RecoveryCodes(recovery_codes=codes)


@router.post(
    "/disable",
    operation_id="disableSecondFactor",
    summary="Disable the second factor",
    status_code=204,
    responses=_responses_with_code(SecondFactorMandatory),
)
@limited(Limit.SECOND_FACTOR)
async def disable(body: SecondFactorProof, caller: FreshUserBefore2FA, request: Request) -> None:
    """Disable your second factor, with a code of the authenticator or a recovery code.

    If the organisation requires a second factor of you, you cannot disable it.
    """
    code = body.submitted_code()
    async with (
        counting_attempts(get_services(request).attempts, caller.user, code),
        transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db,
    ):
        await service.disable(db, get_services(request).secret_key, caller, code)

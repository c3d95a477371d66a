"""The second factor over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from app.access.dependencies import transaction_refreshing_credentials
from app.access.requirements import CurrentUserBefore2FA
from app.access.services import services_of
from app.authentication.second_factor import service
from app.authentication.second_factor.code_limits import counting_attempts
from app.authentication.second_factor.schemas import (
    RecoveryCodes,
    SecondFactorCode,
    SecondFactorProof,
    SecondFactorSetup,
)
from app.authentication.second_factor.service import (
    CodeRefused,
    Proof,
    SecondFactorActive,
    SecondFactorMandatory,
    SecondFactorNotSetUp,
)
from app.core.errors import TooMany
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(prefix="/auth/2fa", tags=["Signing in"], route_class=Route)


def _with_code(*refusals: Any) -> dict[int | str, Any]:
    return responses(CodeRefused, SecondFactorNotSetUp, *refusals, TooMany, body=True)


@router.post(
    "/setup",
    operation_id="setUpSecondFactor",
    summary="Set a second factor up",
    responses=responses(SecondFactorActive),
)
async def set_up(caller: CurrentUserBefore2FA, request: Request) -> SecondFactorSetup:
    """Get a secret for your authenticator app. Nothing depends on it until you confirm it with a code.

    `POST /auth/2fa/confirm` does that. To ask again before makes another secret, and the first is worth nothing.
    """
    async with services_of(request).database.session(caller.org_id) as db:
        setup = await service.set_up(db, services_of(request).secret_key, caller)
    return await asyncio.to_thread(SecondFactorSetup.of, setup)  # drawing the code takes a while


@router.post(
    "/confirm",
    operation_id="confirmSecondFactor",
    summary="Confirm the second factor",
    responses=_with_code(SecondFactorActive),
)
async def confirm(body: SecondFactorCode, caller: CurrentUserBefore2FA, request: Request) -> RecoveryCodes:
    """Show with a code that your authenticator has the secret: from now on, signing in needs a code as well (`totp`).

    The answer has ten recovery codes, for when the authenticator is lost. They are shown this once.
    """
    async with (
        counting_attempts(services_of(request).attempts, caller.user, Proof(totp=body.code)),
        transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db,
    ):
        codes = await service.confirm(db, services_of(request).secret_key, caller, body.code)
    return RecoveryCodes(recovery_codes=codes)


@router.post(
    "/recovery-codes",
    operation_id="renewRecoveryCodes",
    summary="Get new recovery codes",
    responses=_with_code(),
)
async def renew_recovery_codes(body: SecondFactorCode, caller: CurrentUserBefore2FA, request: Request) -> RecoveryCodes:
    """Get ten new recovery codes, shown this once; those before are worth nothing from now on."""
    async with (
        counting_attempts(services_of(request).attempts, caller.user, Proof(totp=body.code)),
        services_of(request).database.session(caller.org_id) as db,
    ):
        codes = await service.renew_recovery_codes(db, services_of(request).secret_key, caller, body.code)
    return RecoveryCodes(recovery_codes=codes)


@router.post(
    "/disable",
    operation_id="disableSecondFactor",
    summary="Disable the second factor",
    status_code=204,
    responses=_with_code(SecondFactorMandatory),
)
async def disable(body: SecondFactorProof, caller: CurrentUserBefore2FA, request: Request) -> None:
    """Let the password be enough again, given a code of the authenticator or a recovery code.

    Where the organisation requires a second factor of you, it stays.
    """
    proof = body.proof()
    async with (
        counting_attempts(services_of(request).attempts, caller.user, proof),
        transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db,
    ):
        await service.disable(db, services_of(request).secret_key, caller, proof)

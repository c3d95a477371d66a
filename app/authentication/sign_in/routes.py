"""Sessions over HTTP: signing in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from app.access.dependencies import address_of
from app.access.permissions import RoleKind
from app.access.services import services_of
from app.accounts.users.examples import CUSTOMER_USER, ENGINEER_USER
from app.accounts.users.fields import EXAMPLE_PASSWORD
from app.authentication.second_factor.code_limits import counting_attempts
from app.authentication.second_factor.service import Proof, TotpRequired, WrongCode
from app.authentication.sessions import service
from app.authentication.sessions.schemas import SignInRequest, SignInResult
from app.authentication.sessions.service import Where
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(prefix="/auth", tags=["Signing in"], route_class=Route)

_REFUSALS = (
    service.WrongEmailOrPassword, TotpRequired, WrongCode, service.OrgRequired, service.AccountPending,
    service.AccountRejected, service.AccountSuspended, TooMany, Busy,
)  # fmt: skip
# The examples of other operations make an engineer and a customer of these.
_ENGINEER = Body(examples=[{"email": "bo@growfin.com", "password": EXAMPLE_PASSWORD}])
_CUSTOMER = Body(examples=[{"email": "mia@customer.example", "password": EXAMPLE_PASSWORD}])


def _as(somebody: Mapping[str, Any]) -> dict[str, Any]:
    """What the three that are for one role document, with an example of whom they are for."""
    overrides = {name: value for name, value in somebody.items() if name == "designation"} | {"user": somebody}
    return {"responses": responses(*_REFUSALS, service.WrongRole, body=True, example_overrides={200: overrides})}


@router.post("/signin", operation_id="signIn", summary="Sign in", responses=responses(*_REFUSALS, body=True))
async def sign_in(body: SignInRequest, request: Request) -> SignInResult:
    """Get an access token for `Authorization: Bearer …`, valid for half an hour, and a refresh token for the next one.

    `org` (the organisation's domain) is needed only where the same e-mail and password fit two organisations. Somebody
    with a second factor gets 401 `totp_required` first: send the same again, with `totp` or `recoveryCode`.
    """
    return await _sign_in(body, request, None)


@router.post("/admin/signin", operation_id="signInAdmin", summary="Sign in as an admin", **_as({}))
async def sign_in_admin(body: SignInRequest, request: Request) -> SignInResult:
    """As `POST /auth/signin`, for admins only: others are refused with 403 `wrong_role`."""
    return await _sign_in(body, request, RoleKind.ADMIN)


@router.post("/engineer/signin", operation_id="signInEngineer", summary="Sign in as an engineer", **_as(ENGINEER_USER))
async def sign_in_engineer(body: Annotated[SignInRequest, _ENGINEER], request: Request) -> SignInResult:
    """As `POST /auth/signin`, for engineers only: others are refused with 403 `wrong_role`."""
    return await _sign_in(body, request, RoleKind.ENGINEER)


@router.post("/customer/signin", operation_id="signInCustomer", summary="Sign in as a customer", **_as(CUSTOMER_USER))
async def sign_in_customer(body: Annotated[SignInRequest, _CUSTOMER], request: Request) -> SignInResult:
    """As `POST /auth/signin`, for customers only: others are refused with 403 `wrong_role`."""
    return await _sign_in(body, request, RoleKind.CUSTOMER)


async def _sign_in(body: SignInRequest, request: Request, role: RoleKind | None) -> SignInResult:
    services = services_of(request)
    attempts, database = services.attempts, services.database
    async with attempts.counting_sign_in(
        body.email, body.org, address_of(request), failure=service.WrongEmailOrPassword
    ) as attempt:
        fit = await service.fitting_accounts(database, body.email, body.password, body.org)
        attempt.failed = len(fit.accounts) < fit.out_of
        account = await service.choose_account(database, fit, role)
    if fit.out_of == 1:
        await attempts.remember_address(attempt)
    user, where = account.user, where_of(request, remembered=body.remember_me)
    proof = Proof.of(user, body.totp, body.recovery_code)
    async with counting_attempts(attempts, user, proof), database.session(user.org_id) as db:
        signed_in = await service.sign_in_to(db, services.secret_key, account, where, proof)
    return SignInResult.of(signed_in)


def where_of(request: Request, *, remembered: bool = False) -> Where:
    """Where the request comes from."""
    device = request.headers.get("user-agent", "")
    return Where(device=device, address=address_of(request) or "", remembered=remembered)

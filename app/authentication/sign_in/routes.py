"""Signing in over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.services import get_services
from app.access.user_permissions import RoleKind
from app.accounts.users.examples import CUSTOMER_USER, ENGINEER_USER
from app.accounts.users.fields import EXAMPLE_PASSWORD
from app.authentication.second_factor.codes import SubmittedCode, counting_attempts
from app.authentication.second_factor.errors import TotpRequired, WrongCodeAtSignIn
from app.authentication.sessions.clients import read_client_info
from app.authentication.sign_in import service
from app.authentication.sign_in.errors import (
    AccountPending,
    AccountRejected,
    AccountSuspended,
    OrgRequired,
    WrongEmailOrPassword,
    WrongRole,
)
from app.authentication.sign_in.schemas import SignInRequest, SignInResult
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.client_address import address_of
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.menus.queries import menu_of_user

router = APIRouter(prefix="/auth", tags=["Signing in"], route_class=Route)

_ERRORS = (
    WrongEmailOrPassword, TotpRequired, WrongCodeAtSignIn, OrgRequired,
    AccountPending, AccountRejected, AccountSuspended,
    TooMany, Busy,
)  # fmt: skip
# The same users as in the examples of other operations: Bo is an engineer, Mia is a customer.
_ENGINEER = Body(examples=[{"email": "bo@growfin.com", "password": EXAMPLE_PASSWORD}])
_CUSTOMER = Body(examples=[{"email": "mia@customer.example", "password": EXAMPLE_PASSWORD}])


def _document(example_user: Mapping[str, Any]) -> dict[str, Any]:
    """Document an operation for users of one role kind, with this user in the example response."""
    overrides = {name: value for name, value in example_user.items() if name == "designation"} | {"user": example_user}
    return {"responses": responses(*_ERRORS, WrongRole, body=True, example_overrides={200: overrides})}


@router.post("/signin", operation_id="signIn", summary="Sign in", responses=responses(*_ERRORS, body=True))
@limited(Limit.SIGN_IN)
async def sign_in(body: SignInRequest, request: Request) -> SignInResult:
    """Get an access token for `Authorization: Bearer …`, valid for half an hour, and a refresh token for the next one.

    `org` (the organisation's domain) is required only if e-mail and password match accounts in two organisations. A
    user with a second factor gets 401 `totp_required` first: repeat the request with `totp` or `recoveryCode`.
    """
    return await _sign_in(body, request, None)


@router.post("/admin/signin", operation_id="signInAdmin", summary="Sign in as an admin", **_document({}))
@limited(Limit.SIGN_IN)
async def sign_in_admin(body: SignInRequest, request: Request) -> SignInResult:
    """Sign in as with `POST /auth/signin`, for admins only: other users get 403 `wrong_role`."""
    return await _sign_in(body, request, RoleKind.ADMIN)


@router.post(
    "/engineer/signin",
    operation_id="signInEngineer",
    summary="Sign in as an engineer",
    **_document(ENGINEER_USER),
)
@limited(Limit.SIGN_IN)
async def sign_in_engineer(body: Annotated[SignInRequest, _ENGINEER], request: Request) -> SignInResult:
    """Sign in as with `POST /auth/signin`, for engineers only: other users get 403 `wrong_role`."""
    return await _sign_in(body, request, RoleKind.ENGINEER)


@router.post(
    "/customer/signin",
    operation_id="signInCustomer",
    summary="Sign in as a customer",
    **_document(CUSTOMER_USER),
)
@limited(Limit.SIGN_IN)
async def sign_in_customer(body: Annotated[SignInRequest, _CUSTOMER], request: Request) -> SignInResult:
    """Sign in as with `POST /auth/signin`, for customers only: other users get 403 `wrong_role`."""
    return await _sign_in(body, request, RoleKind.CUSTOMER)


async def _sign_in(body: SignInRequest, request: Request, role_kind: RoleKind | None) -> SignInResult:
    services = get_services(request)
    attempts, database = services.attempts, services.database
    async with attempts.counting_sign_in(
        body.email, body.org, address_of(request), failure=WrongEmailOrPassword
    ) as attempt:
        matches = await service.match_accounts(database, body.email, body.password, body.org)
        attempt.failed = len(matches.credentials) < matches.compared_count
        account = await service.choose_account(database, matches, role_kind)
    if matches.compared_count == 1:  # with several accounts, the owner of the network is unknown
        await attempts.remember_network(attempt)
    code, client = SubmittedCode.of_user(account.user, body.totp, body.recovery_code), read_client_info(request)
    async with (
        counting_attempts(attempts, account.user, code, address_of(request)),
        database.session(account.user.org_id) as db,
    ):
        locked = await service.lock_account(db, account)
        signed_in = await service.sign_in(
            db,
            services.secret_key,
            locked,
            client,
            code,
            max_age=services.settings.session_max_age,
            remember=body.remember_me,
        )
        menu = await menu_of_user(db, signed_in.user)
    return SignInResult.of(signed_in, menu)

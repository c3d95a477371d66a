"""Social sign-in over HTTP (OpenID Connect)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.services import get_services
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.schemas import EXAMPLE_TOKEN
from app.accounts.users.errors import EmailNotVerified, UserNotFound
from app.accounts.users.models import User
from app.authentication.second_factor.codes import SubmittedCode, counting_attempts
from app.authentication.second_factor.errors import TotpRequired, WrongCodeAtSignIn
from app.authentication.sessions.clients import read_client_info
from app.authentication.sign_in import service as sign_in
from app.authentication.sign_in.errors import AccountPending, AccountRejected, AccountSuspended
from app.authentication.sign_in.queries import lock_for_sign_in
from app.authentication.sign_in.schemas import SignInResult
from app.authentication.social import service
from app.authentication.social.errors import (
    LinkedElsewhere,
    ProviderNotFound,
    ProviderUnavailable,
    SocialSignInRefused,
    StateMismatch,
)
from app.authentication.social.provider import Provider
from app.authentication.social.schemas import ProviderCallback, SocialSignInExchange, StartSignIn
from app.authentication.social.service import ProviderLogin
from app.authentication.social.services import SocialServices
from app.authentication.social.state import LIFETIME, PendingSignIn, cookie_name
from app.authentication.social.used_states import use_state
from app.core.clock import real_now
from app.core.errors import TesseraError, TooMany
from app.core.web.client_address import address_of
from app.core.web.openapi import responses
from app.core.web.problems import PROBLEM_MEDIA_TYPE, respond_to_error
from app.core.web.routing import LenientRoute, Route
from app.menus.queries import menu_of_user
from app.organisations import queries as organisations
from app.organisations.errors import OrganisationNotFound

PREFIX = "/auth/oidc"

router = APIRouter(prefix=PREFIX, tags=["Signing in"], route_class=Route)
# Without `Route`, which refuses unknown parameters: providers add their own, which an OAuth client such as this service
# must ignore (RFC 6749, 4.1.2).
_callback_router = APIRouter(prefix=PREFIX, tags=["Signing in"], route_class=LenientRoute)

ProviderName = Annotated[
    str, Path(description="The provider's name in the settings of the service.", examples=["google"])
]

_NOT_ACTIVE = (AccountPending, AccountRejected, AccountSuspended)


def _redirect_response(target: str, example: str) -> dict[int | str, Any]:
    location = {"description": target, "schema": {"type": "string"}, "example": example}
    return {302: {"description": "The browser is redirected.", "headers": {"Location": location}}}


_START_RESPONSES = _redirect_response(
    "The provider.", "https://accounts.google.com/o/oauth2/v2/auth?response_type=code"
) | responses(ProviderNotFound, OrganisationNotFound, ProviderUnavailable, TooMany)
_CALLBACK_RESPONSES = _redirect_response(
    "The `appUrl`.", f"https://desk.growfin.com/signed-in#token={EXAMPLE_TOKEN}"
) | responses(
    ProviderNotFound, OrganisationNotFound, ProviderUnavailable, StateMismatch, SocialSignInRefused, EmailNotVerified,
    LinkedElsewhere, *_NOT_ACTIVE, TotpRequired, TooMany,
)  # fmt: skip
_CALLBACK_RESPONSES[401]["content"][PROBLEM_MEDIA_TYPE]["examples"][TotpRequired.code]["value"]["exchangeToken"] = (
    EXAMPLE_TOKEN
)


@router.get(
    "/{provider}/start",
    operation_id="startSocialSignIn",
    summary="Start a social sign-in",
    status_code=302,
    response_class=RedirectResponse,
    responses=_START_RESPONSES,
)
@limited(Limit.SOCIAL)
async def start_social_sign_in(
    provider: ProviderName, query: Annotated[StartSignIn, Query()], request: Request
) -> RedirectResponse:
    """Send a browser here: it is redirected to the provider, and returns to `…/callback`.

    A user whose account at the provider is linked, or whose e-mail is verified both there and here, signs in to their
    account. Otherwise an account with this `role` is created: a customer is `ACTIVE` at once, an engineer or an admin
    is `PENDING` until an admin of the organisation approves.
    """
    chosen_provider, services = _find_provider(request, provider), get_services(request)
    await services.attempts.count_social_sign_in(address_of(request))
    async with services.database.session(None) as db:
        tenant = await organisations.get_by_domain(db, query.org)
    pending = PendingSignIn.begin(tenant.domain, query.role, real_now(), remember=query.remember_me)
    response = RedirectResponse(await chosen_provider.authorization_url(pending, _callback_url(request, provider)), 302)
    response.set_cookie(
        cookie_name(provider, pending.state),
        pending.seal(services.secret_key, provider),
        max_age=int(LIFETIME.total_seconds()),
        **_cookie_attributes(request),
    )
    return response


@_callback_router.get(
    "/{provider}/callback",
    operation_id="finishSocialSignIn",
    summary="Return from the provider",
    response_model=SignInResult,
    responses=_CALLBACK_RESPONSES,
)
@limited(Limit.SOCIAL)
async def finish_social_sign_in(
    provider: ProviderName, callback: Annotated[ProviderCallback, Query()], request: Request
) -> Response:
    """Finish a social sign-in: the provider redirects the browser here. Register `PUBLIC_URL` with this path there.

    If the organisation has an `appUrl`, the browser is redirected to `{appUrl}/signed-in#token=…`, or to
    `{appUrl}/signed-in#error=…` with the `code` of an error; exchange the token with `POST /auth/oidc/exchange`, once,
    within a minute. Otherwise the response is that of a sign-in; a user with a second factor gets 401 `totp_required`,
    and the problem document has an `exchangeToken` for the same operation.
    """
    chosen_provider = _find_provider(request, provider)
    cookie = cookie_name(provider, callback.state or "")
    try:
        response = await _finish(chosen_provider, callback, request.cookies.get(cookie), request)
    except TesseraError as error:
        response = await respond_to_error(request, error)
    response.delete_cookie(cookie, **_cookie_attributes(request))
    return response


router.routes.extend(_callback_router.routes)


@router.post(
    "/exchange",
    operation_id="exchangeSocialSignIn",
    summary="Exchange the token of a social sign-in",
    responses=responses(LinkExpired, TotpRequired, WrongCodeAtSignIn, *_NOT_ACTIVE, TooMany, body=True),
)
@limited(Limit.SECOND_FACTOR)
async def exchange_social_sign_in(body: SocialSignInExchange, request: Request) -> SignInResult:
    """Exchange the token of `…/callback` for the response of a sign-in.

    A user with a second factor gets 401 `totp_required` first: repeat the request with `totp` or `recoveryCode`. Only
    success uses up the token.
    """
    services = get_services(request)
    database, secret_key = services.database, services.secret_key
    subject = links.parse_token(secret_key, body.token)
    async with database.session(subject.org_id) as db:
        user, remember = await service.get_token_user(db, subject)
    if body.remember_me is not None:
        remember = body.remember_me
    code, client = SubmittedCode.of_user(user, body.totp, body.recovery_code), read_client_info(request)
    async with (
        counting_attempts(services.attempts, user, code, address_of(request)),
        database.session(subject.org_id) as db,
    ):
        max_age = services.settings.session_max_age
        signed_in = await service.exchange(db, secret_key, subject, client, code, max_age=max_age, remember=remember)
        menu = await menu_of_user(db, signed_in.user)
    return SignInResult.of(signed_in, menu)


async def _finish(provider: Provider, callback: ProviderCallback, cookie: str | None, request: Request) -> Response:
    services, address = get_services(request), address_of(request)
    await services.attempts.count_social_sign_in(address)
    if callback.error is not None and callback.state is None:  # some providers omit the state of an error
        raise SocialSignInRefused
    pending = PendingSignIn.unseal(services.secret_key, provider.name, cookie, callback.state or "", real_now())
    async with services.database.session(None) as db:
        tenant = await organisations.get_by_domain(db, pending.org)
    async with services.database.session(tenant.id) as db:
        await use_state(db, tenant.id, pending)
    try:
        identity = await provider.identify(pending, callback, _callback_url(request, provider.name))
        login = ProviderLogin(provider=provider.name, identity=identity, role=pending.role, address=address)
        user = await service.find_or_create_user(services.database, services.attempts, tenant, login)
        sign_in.ensure_active(user)
        if tenant.app_url is None:
            return await _sign_in(user, request, remember=pending.remember)
        token = await _issue_exchange_token(user, request, remember=pending.remember)
        return _redirect_to_app(tenant.app_url, "token", token)
    except TesseraError as error:
        if tenant.app_url is None:
            raise
        return _redirect_to_app(tenant.app_url, "error", error.code)


async def _sign_in(user: User, request: Request, *, remember: bool) -> Response:
    services, client = get_services(request), read_client_info(request)
    try:
        async with services.database.session(user.org_id) as db:
            account = await lock_for_sign_in(db, user.org_id, user.id)
            max_age = services.settings.session_max_age
            signed_in = await sign_in.sign_in(
                db, services.secret_key, account, client, SubmittedCode(), max_age=max_age, remember=remember
            )
            menu = await menu_of_user(db, signed_in.user)
    except TotpRequired:
        token = await _issue_exchange_token(user, request, remember=remember)
        raise TotpRequired(members={"exchangeToken": token}) from None
    except UserNotFound:  # a concurrent request has erased the user
        raise SocialSignInRefused from None
    body = SignInResult.of(signed_in, menu).model_dump_json(by_alias=True)
    return Response(body, media_type="application/json")


async def _issue_exchange_token(user: User, request: Request, *, remember: bool) -> str:
    services = get_services(request)
    async with services.database.session(user.org_id) as db:
        return service.issue_exchange_token(db, services.secret_key, user, remember=remember)


def _redirect_to_app(app_url: str, name: str, value: str) -> Response:
    # In the fragment, which browsers send to no server, so that it appears in no log.
    return RedirectResponse(f"{app_url}/signed-in#{urlencode({name: value})}", 302)


def _find_provider(request: Request, name: str) -> Provider:
    return get_services(request, SocialServices).providers.get(name)


def _public_url(request: Request) -> str:
    return get_services(request).settings.base_url


def _callback_url(request: Request, provider: str) -> str:
    return f"{_public_url(request)}{PREFIX}/{provider}/callback"


class _CookieAttributes(TypedDict):
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["lax"]


def _cookie_attributes(request: Request) -> _CookieAttributes:
    # Lax: browsers send it when the provider redirects to us, and with no request that another page makes.
    parts = urlsplit(_public_url(request))
    return {"path": parts.path + PREFIX, "secure": parts.scheme == "https", "httponly": True, "samesite": "lax"}

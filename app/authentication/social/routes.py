"""Social sign-in over HTTP (OpenID Connect)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.access.dependencies import address_of
from app.access.services import services_of
from app.access.tenant import Tenant
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.schemas import EXAMPLE_TOKEN
from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import User
from app.authentication.second_factor.code_limits import counting_attempts
from app.authentication.second_factor.service import Proof, TotpRequired, WrongCode
from app.authentication.sessions import service as sessions
from app.authentication.sessions.schemas import SignInResult
from app.authentication.sign_in.routes import where_of
from app.authentication.social import service
from app.authentication.social.provider import (
    Provider,
    ProviderNotFound,
    ProviderUnavailable,
    SocialSignInRefused,
)
from app.authentication.social.schemas import ProviderCallback, SocialSignInExchange, StartSignIn
from app.authentication.social.service import ProviderLogin
from app.authentication.social.services import SocialServices
from app.authentication.social.state import LIFETIME, PendingSignIn, StateMismatch, cookie_name
from app.core.clock import real_now
from app.core.errors import TesseraError, TooMany
from app.core.web.openapi import responses
from app.core.web.problems import PROBLEM_MEDIA_TYPE, respond_to_error
from app.core.web.routing import Route
from app.organisations import queries as organisations
from app.organisations.errors import OrganisationNotFound

PREFIX = "/auth/oidc"

router = APIRouter(prefix=PREFIX, tags=["Signing in"], route_class=Route)
# A provider's answer may have parameters that nobody foresaw, and clients ignore them (RFC 6749, 4.1.2).
_answered = APIRouter(prefix=PREFIX, tags=["Signing in"])

ProviderField = Annotated[str, Path(description="As the service's settings call it.", examples=["google"])]

_NOT_ACTIVE = (sessions.AccountPending, sessions.AccountRejected, sessions.AccountSuspended)


def _sent_on(where: str, example: str) -> dict[int | str, Any]:
    location = {"description": where, "schema": {"type": "string"}, "example": example}
    return {302: {"description": "The browser is sent on.", "headers": {"Location": location}}}


_START = _sent_on("The provider.", "https://accounts.google.com/o/oauth2/v2/auth?response_type=code") | responses(
    ProviderNotFound, OrganisationNotFound, ProviderUnavailable, TooMany
)
_FINISH = _sent_on("The `appUrl`.", f"https://desk.growfin.com/signed-in#token={EXAMPLE_TOKEN}") | responses(
    ProviderNotFound, OrganisationNotFound, ProviderUnavailable, StateMismatch, SocialSignInRefused,
    service.EmailNotVerified, service.LinkedElsewhere, *_NOT_ACTIVE, TotpRequired, TooMany,
)  # fmt: skip
_FINISH[401]["content"][PROBLEM_MEDIA_TYPE]["examples"][TotpRequired.code]["value"]["exchangeToken"] = EXAMPLE_TOKEN


@router.get(
    "/{provider}/start",
    operation_id="startSocialSignIn",
    summary="Sign in with an account elsewhere",
    status_code=302,
    response_class=RedirectResponse,
    responses=_START,
)
async def start_social_sign_in(
    provider: ProviderField, wanted: Annotated[StartSignIn, Query()], request: Request
) -> RedirectResponse:
    """Send a browser here: it is sent on to the provider, and comes back to `…/callback`.

    Who is known by their account there, or whose e-mail is verified both there and here, signs in as who they are;
    `role` is for those who are new. A customer is `ACTIVE` at once, an engineer or an admin is `PENDING` until an admin
    of the organisation approves.
    """
    chosen, services = _provider(request, provider), services_of(request)
    await services.attempts.count_social_sign_in(address_of(request))
    async with services.database.session(None) as db:
        tenant = await organisations.get_by_domain(db, wanted.org)
    pending = PendingSignIn.begin(tenant.domain, wanted.role, real_now(), remember=wanted.remember_me)
    answer = RedirectResponse(await chosen.authorization_url(pending, _callback(request, provider)), 302)
    answer.set_cookie(
        cookie_name(provider, pending.state),
        pending.seal(services.secret_key, provider),
        max_age=int(LIFETIME.total_seconds()),
        **_of_cookie(request),
    )
    return answer


@_answered.get(
    "/{provider}/callback",
    operation_id="finishSocialSignIn",
    summary="Come back from the provider",
    response_model=SignInResult,
    responses=_FINISH,
)
async def finish_social_sign_in(
    provider: ProviderField, said: Annotated[ProviderCallback, Query()], request: Request
) -> Response:
    """Where the provider sends the browser. To be registered there: this address, at `PUBLIC_URL`.

    If the organisation has an `appUrl`, the browser is sent on to `{appUrl}/signed-in#token=…`, or to
    `{appUrl}/signed-in#error=…` with the `code` of an error; the token is for `POST /auth/oidc/exchange`, once, within
    a minute. If not, the answer is that of a sign-in; somebody with a second factor gets 401 `totp_required`, and the
    problem document has an `exchangeToken` for the same operation.
    """
    chosen = _provider(request, provider)
    cookie = cookie_name(provider, said.state or "")
    try:
        answer = await _finish(chosen, said, request.cookies.get(cookie), request)
    except TesseraError as error:
        answer = await respond_to_error(request, error)
    answer.delete_cookie(cookie, **_of_cookie(request))
    return answer


router.routes.extend(_answered.routes)


@router.post(
    "/exchange",
    operation_id="exchangeSocialSignIn",
    summary="Get the tokens at the end of a social sign-in",
    responses=responses(LinkExpired, TotpRequired, WrongCode, *_NOT_ACTIVE, TooMany, body=True),
)
async def exchange_social_sign_in(body: SocialSignInExchange, request: Request) -> SignInResult:
    """Get what a sign-in answers for the token that `…/callback` ended with.

    Somebody with a second factor gets 401 `totp_required` first: send the same again, with `totp` or `recoveryCode`.
    Only success uses the token up.
    """
    services = services_of(request)
    database, secret_key = services.database, services.secret_key
    named = links.parse_token(secret_key, body.token)
    async with database.session(named.org_id) as db:
        user, remembered = await service.get_token_user(db, named)
    proof = Proof.of(user, body.totp, body.recovery_code)
    where = where_of(request, remembered=remembered if body.remember_me is None else body.remember_me)
    async with counting_attempts(services.attempts, user, proof), database.session(named.org_id) as db:
        signed_in = await service.exchange(db, secret_key, named, where, proof)
    return SignInResult.of(signed_in)


async def _finish(chosen: Provider, said: ProviderCallback, cookie: str | None, request: Request) -> Response:
    services = services_of(request)
    await services.attempts.count_social_sign_in(address_of(request))
    if said.error is not None and said.state is None:  # some providers forget it then
        raise SocialSignInRefused
    pending = PendingSignIn.unseal(services.secret_key, chosen.name, cookie, said.state or "", real_now())
    async with services.database.session(None) as db:
        tenant = await organisations.get_by_domain(db, pending.org)
    try:
        user = await _user(chosen, said, pending, tenant, request)
        if tenant.app_url is None:
            return await _signed_in(user, request, remember=pending.remember)
        return _to_app(tenant.app_url, "token", await _token(user, request, remember=pending.remember))
    except TesseraError as error:
        if tenant.app_url is None:
            raise
        return _to_app(tenant.app_url, "error", error.code)


async def _user(
    chosen: Provider, said: ProviderCallback, pending: PendingSignIn, tenant: Tenant, request: Request
) -> User:
    identity = await chosen.identify(pending, said, _callback(request, chosen.name))
    login = ProviderLogin(provider=chosen.name, identity=identity, role=pending.role, address=address_of(request))
    services = services_of(request)
    user = await service.find_or_create_user(services.database, services.attempts, tenant, login)
    sessions.check_active(user)
    return user


async def _signed_in(user: User, request: Request, *, remember: bool) -> Response:
    services, where = services_of(request), where_of(request, remembered=remember)
    try:
        async with services.database.session(user.org_id) as db:
            signed_in = await sessions.sign_in(db, services.secret_key, user, where, Proof())
    except TotpRequired:
        raise TotpRequired(members={"exchangeToken": await _token(user, request, remember=remember)}) from None
    except UserNotFound:  # erased a moment ago
        raise SocialSignInRefused from None
    return Response(SignInResult.of(signed_in).model_dump_json(by_alias=True), media_type="application/json")


async def _token(user: User, request: Request, *, remember: bool) -> str:
    services = services_of(request)
    async with services.database.session(user.org_id) as db:
        return service.issue_token(db, services.secret_key, user, remember=remember)


def _to_app(app_url: str, name: str, value: str) -> Response:
    # In the fragment, which no server and no log gets to see.
    return RedirectResponse(f"{app_url}/signed-in#{urlencode({name: value})}", 302)


def _provider(request: Request, name: str) -> Provider:
    return services_of(request, SocialServices).providers.get(name)


def _url(request: Request) -> str:
    return services_of(request).settings.url


def _callback(request: Request, provider: str) -> str:
    return f"{_url(request)}{PREFIX}/{provider}/callback"


class _Cookie(TypedDict):
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["lax"]


def _of_cookie(request: Request) -> _Cookie:
    # Lax: it comes along when the provider sends the browser back, and on no request that another page makes.
    parts = urlsplit(_url(request))
    return {"path": parts.path + PREFIX, "secure": parts.scheme == "https", "httponly": True, "samesite": "lax"}

"""Sessions over HTTP: refreshing, verifying, listing and ending them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import MISSING

from app.access.callers import lacks_second_factor
from app.access.operation_requirements import CurrentUserBefore2FA, CurrentUserOrNone
from app.access.services import get_services
from app.access.transactions import Db, invalidate_credentials, transaction_refreshing_credentials
from app.authentication.sessions import queries, service
from app.authentication.sessions.clients import read_client_info
from app.authentication.sessions.errors import InvalidRefreshToken, SessionNotFound
from app.authentication.sessions.schemas import (
    Session,
    SessionPage,
    SignOutRequest,
    TokenPair,
    TokenRefreshRequest,
    TokenVerification,
    TokenVerificationRequest,
    token_fields,
)
from app.core.clock import real_now
from app.core.security.access_tokens import InvalidToken
from app.core.web.openapi import responses
from app.core.web.paging import CountedPageQuery, InvalidCursor, Paging
from app.core.web.routing import Route

# The example of a request with an access token.
_NO_TOKEN = Body(examples=[{}])

router = APIRouter(tags=["Signing in"], route_class=Route)


@router.post(
    "/auth/refresh",
    operation_id="refreshSession",
    summary="Refresh the tokens",
    responses=responses(InvalidRefreshToken, body=True),
)
async def refresh(body: TokenRefreshRequest, request: Request) -> TokenPair:
    """Exchange a refresh token, which can be used once, for an access token and the next refresh token.

    For ten seconds, the same token gets the same successor again, in case the first response was lost. Using a token
    again later, or after its successor was used, ends the session: the token may have been stolen. A session ends 90
    days after its sign-in (the operator can set another number), however often it is refreshed.
    """
    services = get_services(request)
    tokens = await service.refresh(
        services.database,
        services.secret_key,
        body.refresh_token,
        read_client_info(request),
        services.settings.session_max_age,
    )
    return TokenPair(**token_fields(tokens))


@router.post(
    "/auth/signout",
    operation_id="signOut",
    summary="Sign out",
    status_code=204,
    responses=responses(InvalidRefreshToken, body=True),
)
async def sign_out(
    caller: CurrentUserOrNone, request: Request, body: Annotated[SignOutRequest | None, _NO_TOKEN] = None
) -> None:
    """End this session. Its access tokens and its refresh token stop working.

    The session is that of the access token, or else that of `refreshToken`: a client whose access token has expired can
    still sign out. The request also succeeds if the session has ended already.
    """
    token = None if body is None or body.refresh_token is MISSING else body.refresh_token
    subject = None if token is None else service.read_refresh_token(get_services(request).secret_key, token)
    if caller is not None:
        user = caller.user
        async with transaction_refreshing_credentials(request, caller.org_id, user.id) as db:
            with suppress(SessionNotFound):  # a concurrent request has ended it
                await service.end_session(db, caller.org_id, user.id, user.session_id)
    if subject is not None:
        async with get_services(request).database.session(subject.org_id) as db:
            user_id = await service.end_session_of_token(db, subject)
        if user_id is not None:
            invalidate_credentials(request, subject.org_id, user_id)


@router.post(
    "/auth/signout-all",
    operation_id="signOutEverywhere",
    summary="Sign out everywhere",
    status_code=204,
    responses=responses(),
)
async def sign_out_everywhere(caller: CurrentUserBefore2FA, request: Request) -> None:
    """End all your sessions, including this one."""
    async with transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db:
        await service.end_sessions(db, caller.org_id, caller.user.id)


@router.post(
    "/auth/verify",
    operation_id="verifyToken",
    summary="Verify an access token",
    responses=responses(body=True),
)
async def verify(body: TokenVerificationRequest, request: Request) -> TokenVerification:
    """Return the claims of an access token if it is valid now. Use it in services that receive tokens.

    The response to a token that has expired, that another service issued, or whose session has ended, is
    `active: false` alone. A user who has yet to set up the second factor that their organisation requires has no
    permissions until then.
    """
    credential_cache = get_services(request).credential_cache
    try:
        tenant, user = await credential_cache.resolve_access_token(body.token)
        claims = credential_cache.read_claims(body.token)
    except InvalidToken:
        return TokenVerification(active=False)
    return TokenVerification.of(claims, user, second_factor_required=lacks_second_factor(tenant, user))


@router.get(
    "/me/sessions",
    operation_id="listMySessions",
    summary="List your sessions",
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_sessions(
    page_query: Annotated[CountedPageQuery, Query()],
    caller: CurrentUserBefore2FA,
    db: Db,
    request: Request,
    response: Response,
) -> SessionPage:
    """List your sessions that have not ended, newest first. A sign-in starts a session, and refreshing prolongs it."""
    user, now = caller.user, real_now()
    paging = Paging.of(
        request, page_query, get_services(request).secret_key, caller.org_id, "sessions", filters=user.id
    )
    after, limit = paging.after(UUID), paging.fetch_limit
    rows = await queries.list_page(db, caller.org_id, user.id, now, after=after, limit=limit)
    total = await queries.count(db, caller.org_id, user.id, now) if page_query.include else None
    to_item = partial(Session.of, current=user.session_id)
    return paging.page(response, SessionPage, rows, to_item, position=lambda row: (row.id,), total=total)


@router.delete(
    "/me/sessions/{id}",
    operation_id="endMySession",
    summary="End one of your sessions",
    status_code=204,
    responses=responses(SessionNotFound),
)
async def end_session(
    session_id: Annotated[UUID, Path(alias="id")], caller: CurrentUserBefore2FA, request: Request
) -> None:
    """End one of your sessions. Its tokens stop working within five seconds."""
    async with transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db:
        await service.end_session(db, caller.org_id, caller.user.id, session_id)

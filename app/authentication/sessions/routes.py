"""Sessions over HTTP: refreshing, checking and ending them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.access.callers import lacks_second_factor
from app.access.dependencies import Db, transaction_refreshing_credentials
from app.access.requirements import CurrentUserBefore2FA
from app.access.services import services_of
from app.authentication.sessions import queries, service
from app.authentication.sessions.queries import SessionNotFound
from app.authentication.sessions.schemas import (
    Session,
    SessionPage,
    TokenPair,
    TokenRefreshRequest,
    TokenVerification,
    TokenVerificationRequest,
    token_fields,
)
from app.authentication.sign_in.routes import where_of
from app.core.clock import real_now
from app.core.security.access_tokens import InvalidToken
from app.core.web.openapi import responses
from app.core.web.paging import CountedPageQuery, InvalidCursor, Paging
from app.core.web.routing import Route

router = APIRouter(tags=["Signing in"], route_class=Route)


@router.post(
    "/auth/refresh",
    operation_id="refreshSession",
    summary="Get the next access token",
    responses=responses(service.InvalidRefreshToken, body=True),
)
async def refresh(body: TokenRefreshRequest, request: Request) -> TokenPair:
    """Exchange a refresh token, which can be used once, for an access token and the next refresh token.

    Within ten seconds the same token gets the same successor again, in case the first answer was lost. Later, or once
    that successor was used itself, to use it again ends the session: one of the two who have it should not.
    """
    services = services_of(request)
    refreshed = await service.refresh(services.database, services.secret_key, body.refresh_token, where_of(request))
    return TokenPair(**token_fields(refreshed))


@router.post(
    "/auth/signout",
    operation_id="signOut",
    summary="Sign out",
    status_code=204,
    responses=responses(),
)
async def sign_out(caller: CurrentUserBefore2FA, request: Request) -> None:
    """End this session: neither its access tokens nor its refresh token are good any more."""
    user = caller.user
    async with transaction_refreshing_credentials(request, caller.org_id, user.id) as db:
        with suppress(SessionNotFound):  # it has ended a moment ago
            await service.end_session(db, caller.org_id, user.id, user.session_id)


@router.post(
    "/auth/signout-all",
    operation_id="signOutEverywhere",
    summary="Sign out everywhere",
    status_code=204,
    responses=responses(),
)
async def sign_out_everywhere(caller: CurrentUserBefore2FA, request: Request) -> None:
    """End all your sessions, this one included."""
    async with transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db:
        await service.end_sessions(db, caller.org_id, caller.user.id)


@router.post(
    "/auth/verify",
    operation_id="verifyToken",
    summary="Ask whether an access token is good",
    responses=responses(body=True),
)
async def verify(body: TokenVerificationRequest, request: Request) -> TokenVerification:
    """For your own services, when they are shown an access token: what it says, if it is good at this moment.

    One that has expired, is somebody else's make, or whose session has ended is answered with `active: false` alone.
    Who has yet to set up the second factor that their organisation requires has no permissions until then.
    """
    credential_cache = services_of(request).credential_cache
    try:
        tenant, user = await credential_cache.resolve_access_token(body.token)
        return TokenVerification.of(
            credential_cache.read_claims(body.token), user, held=lacks_second_factor(tenant, user)
        )
    except InvalidToken:
        return TokenVerification(active=False)


@router.get(
    "/me/sessions",
    operation_id="listMySessions",
    summary="List where you are signed in",
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_sessions(
    wanted: Annotated[CountedPageQuery, Query()],
    caller: CurrentUserBefore2FA,
    db: Db,
    request: Request,
    response: Response,
) -> SessionPage:
    """Your sessions that have not ended, the latest first. Each began with a sign-in; to refresh it keeps it going."""
    user, now = caller.user, real_now()
    paging = Paging.of(request, wanted, services_of(request).secret_key, caller.org_id, "sessions", filters=user.id)
    after, limit = paging.after(UUID), paging.fetch_limit
    rows = await queries.of_user(db, caller.org_id, user.id, now, after=after, limit=limit)
    total = await queries.count(db, caller.org_id, user.id, now) if wanted.include else None
    to_item = partial(Session.of, current=user.session_id)
    return paging.page(response, SessionPage, rows, to_item, position=lambda row: (row.id,), total=total)


@router.delete(
    "/me/sessions/{id}",
    operation_id="endMySession",
    summary="Sign out of one session",
    status_code=204,
    responses=responses(SessionNotFound),
)
async def end_session(
    session_id: Annotated[UUID, Path(alias="id")], caller: CurrentUserBefore2FA, request: Request
) -> None:
    """End one of your sessions, wherever it is: its tokens are not good any more, at the latest after five seconds."""
    async with transaction_refreshing_credentials(request, caller.org_id, caller.user.id) as db:
        await service.end_session(db, caller.org_id, caller.user.id, session_id)

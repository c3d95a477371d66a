"""Identify the caller of a request by its secret key or its access token."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

from fastapi import Request

from app.access.callers import ProductCaller, UserCaller
from app.access.errors import AccessTokenRequired, MissingCredential, SecretKeyMismatch
from app.access.services import get_services
from app.access.tenant import Tenant
from app.core.errors import BadInput, MalformedBody
from app.core.request_turns import TURN, Turn
from app.core.web.client_address import address_of
from app.core.web.cors import ALLOWS_ORIGIN
from app.core.web.limiter import get_network

SECRET_HEADER = "x-org-secret"  # noqa: S105 - a name


async def read_secret(request: Request, *, from_body: bool) -> str | None:
    """Return the secret key in the request, if there is one.

    Args:
        from_body: whether the secret key may also come in the body, as the field `secret`.

    Raises:
        SecretKeyMismatch: the header and the body have different secret keys.
    """
    in_header = request.headers.get(SECRET_HEADER)
    if not from_body:
        return in_header
    body = await read_json(request)
    in_body = body.get("secret") if isinstance(body, dict) else None
    if not isinstance(in_body, str):
        return in_header
    if in_header and in_header != in_body:
        raise SecretKeyMismatch
    return in_body


async def read_json(request: Request) -> Any:
    """Return the JSON value of the body; `None` if it is not JSON, which the validation of the body reports."""
    try:
        return await request.json() if await request.body() else None
    except (ValueError, MalformedBody, BadInput):
        return None


async def identify_product(request: Request, secret: str) -> ProductCaller:
    """Return the product that the secret key belongs to.

    Raises:
        InvalidSecretKey
    """
    tenant = await _find_tenant(request, secret)
    if waiting := _take_turn(request, tenant.id):
        await waiting
    return ProductCaller(tenant=tenant, now=tenant.now())


async def identify_user(request: Request, secret: str | None, how_to_send: str, *, cached: bool = True) -> UserCaller:
    """Return the user of the access token in the request.

    Args:
        secret: the secret key in the request, which cannot replace the access token.
        how_to_send: tells a client without credentials how to send some.
        cached: whether an earlier lookup counts. Another process may have demoted the user, or have let them
            authenticate again, which this one has not read yet.

    Raises:
        MissingCredential, InvalidToken
        AccessTokenRequired: the request has a valid secret key only.
        InvalidSecretKey
    """
    cache = get_services(request).credential_cache
    if secret is not None and "authorization" not in request.headers:
        await _find_tenant(request, secret)
        raise AccessTokenRequired
    token = _bearer_token(request)
    if token is None:
        raise MissingCredential(how_to_send)
    claims = cache.read_claims(token)
    # The signature proves the organisation, so the lookup is already part of the organisation's turn.
    if waiting := _take_turn(request, claims.org_id):
        await waiting
    tenant, user = await cache.resolve_claims(claims, cached=cached)
    _note_tenant(request, tenant)
    return UserCaller(tenant=tenant, user=user, now=tenant.now())


async def _find_tenant(request: Request, secret: str) -> Tenant:
    """Return the organisation of a secret key, and note it. A lookup takes the turn of a caller who is not known.

    Lookups wait by network: a queue for each key would favour the client that sends the most different keys.
    """
    cache = get_services(request).credential_cache
    tenant = cache.find_cached_tenant(secret)
    if tenant is None:
        turn: Turn | None = request.scope.get(TURN)
        if turn is None:
            tenant = await cache.resolve_secret_key(secret)
        else:
            if waiting := turn.take(turn.all.lookups, get_network(address_of(request))):
                await waiting
            tenant = await cache.resolve_secret_key(secret)
            turn.give_back()
    _note_tenant(request, tenant)
    return tenant


def _take_turn(request: Request, org_id: UUID) -> Awaitable[None] | None:
    """Take the request's turn in its organisation. The edge ends it."""
    turn: Turn | None = request.scope.get(TURN)
    return None if turn is None else turn.take(turn.all.organisations, org_id)


def _note_tenant(request: Request, tenant: Tenant) -> None:
    """Note the organisation for the log, and its rule for browsers of other origins."""
    request.state.org_id = tenant.id
    setattr(request.state, ALLOWS_ORIGIN, tenant.allows_origin)


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None

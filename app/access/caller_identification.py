"""Identify the caller of a request by its secret key or its access token."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from app.access.callers import ProductCaller, UserCaller
from app.access.errors import AccessTokenRequired, MissingCredential, SecretKeyMismatch
from app.access.services import get_services
from app.access.tenant import Tenant
from app.core.errors import BadInput, MalformedBody
from app.core.web.cors import ALLOWS_ORIGIN

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
    tenant = await get_services(request).credential_cache.resolve_secret_key(secret)
    _note_tenant(request, tenant)
    return ProductCaller(tenant=tenant, now=tenant.now())


async def identify_user(
    request: Request, secret: str | None, how_to_send: str, *, needs_fresh_sign_in: bool = False
) -> UserCaller:
    """Return the user of the access token in the request.

    Args:
        secret: the secret key in the request, which cannot replace the access token.
        how_to_send: tells a client without credentials how to send some.
        needs_fresh_sign_in: whether a session that is not fresh is looked up again. The user may have authenticated
        again
            in another process, which this one has not read yet.

    Raises:
        MissingCredential, InvalidToken
        AccessTokenRequired: the request has a valid secret key only.
        InvalidSecretKey
    """
    cache = get_services(request).credential_cache
    if "authorization" not in request.headers and secret is not None:
        _note_tenant(request, await cache.resolve_secret_key(secret))
        raise AccessTokenRequired
    token = _bearer_token(request)
    if token is None:
        raise MissingCredential(how_to_send)
    tenant, user = await cache.resolve_access_token(token)
    if needs_fresh_sign_in and not user.is_freshly_authenticated:
        tenant, user = await cache.resolve_access_token(token, cached=False)
    _note_tenant(request, tenant)
    return UserCaller(tenant=tenant, user=user, now=tenant.now())


def _note_tenant(request: Request, tenant: Tenant) -> None:
    """Note the organisation for the log, and its rule for browsers of other origins."""
    request.state.org_id = tenant.id
    setattr(request.state, ALLOWS_ORIGIN, tenant.allows_origin)


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None

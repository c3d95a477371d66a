"""Who is calling: dependencies that turn a request's credentials into a `Caller`.

They stand here, below the people, because products call with their organisation's secret alone; how a credential is
looked up is the doorkeeper's affair (`identity/doorkeeper.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database
from app.core.security import InvalidToken
from app.organisations.caller import (
    Caller,
    CredentialLookup,
    InvalidSecret,
    MissingCredential,
    PersonRequired,
    Principal,
    SecretMismatch,
    SecretRequired,
)
from app.organisations.tenant import Tenant

SECRET_HEADER = "x-org-secret"  # noqa: S105 - a name


def _doorkeeper(request: Request) -> CredentialLookup:
    return cast("CredentialLookup", request.app.state.doorkeeper)


def _caller(request: Request, tenant: Tenant, person: Principal | None) -> Caller:
    request.state.org_id = tenant.id
    return Caller(tenant=tenant, person=person, now=tenant.now())


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def _by_token(request: Request) -> Caller:
    token = _bearer_token(request)
    if token is None:
        raise MissingCredential
    return _caller(request, *await _doorkeeper(request).by_token(token))


async def _by_secret(request: Request) -> Caller:
    secret = request.headers.get(SECRET_HEADER)
    if secret is None:
        raise MissingCredential
    return _caller(request, await _doorkeeper(request).by_secret(secret), None)


async def partner(request: Request) -> Caller:
    """A product, by the secret in the header or in the body."""
    in_header = request.headers.get(SECRET_HEADER)
    try:
        body = await request.json()
    except ValueError:  # no JSON: the body's own validation says so, if the header has a good secret
        body = None
    in_body = body.get("secret") if isinstance(body, dict) else None
    if in_header and isinstance(in_body, str) and in_header != in_body:
        raise SecretMismatch
    secret = in_header or in_body
    if not isinstance(secret, str):
        await _by_token(request)
        raise SecretRequired
    return _caller(request, await _doorkeeper(request).by_secret(secret), None)


async def admin(request: Request) -> Caller:
    """A signed-in admin."""
    if "authorization" not in request.headers and SECRET_HEADER in request.headers:
        await _by_secret(request)
        raise PersonRequired
    return await _by_token(request)


async def admin_or_partner(request: Request) -> Caller:
    """A signed-in admin, or else a product by the secret in the header."""
    if "authorization" in request.headers:
        return await _by_token(request)
    return await _by_secret(request)


PartnerCaller = Annotated[Caller, Depends(partner)]
AdminCaller = Annotated[Caller, Depends(admin)]
AnyCaller = Annotated[Caller, Depends(admin_or_partner)]

# What each of them can raise, for the documentation.
PARTNER_ERRORS = (MissingCredential, InvalidSecret, SecretMismatch, InvalidToken, SecretRequired)
ADMIN_ERRORS = (MissingCredential, InvalidToken, InvalidSecret, PersonRequired)
ANY_ERRORS = (MissingCredential, InvalidSecret, InvalidToken)


def database_of(request: Request) -> Database:
    """The pool of the process that serves this request."""
    return cast("Database", request.app.state.database)


async def tenant_session(request: Request) -> AsyncIterator[AsyncSession]:
    """The request's transaction, in the caller's organisation. Declare it after the caller."""
    async with database_of(request).session(request.state.org_id) as db:
        yield db


# Scope "function" commits before the answer is sent: an answer never promises what a failed commit takes back.
Db = Annotated[AsyncSession, Depends(tenant_session, scope="function")]

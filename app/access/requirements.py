"""Who may call what. An operation declares it once, as the type of its `caller`; the documentation reads it there.

It stands here, below the users, because products call with their organisation's secret alone; how a credential is
looked up is the credential_cache's affair (`identity/sessions/credential_cache.py`).
"""

# Annotations stay what they are: FastAPI cannot resolve the names in those of an object that is called.
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempts import Attempts
from app.access.callers import (
    Caller,
    CredentialLookup,
    InvalidSecret,
    MissingCredential,
    NotForCustomers,
    PermissionRequired,
    SecondFactorRequired,
    SecretMismatch,
    SecretRequired,
    UserRequired,
    lacks_second_factor,
)
from app.access.permissions import Action, Resource, RoleKind, permission
from app.access.tenant import Tenant
from app.core.database.pool import Database
from app.core.errors import TesseraError
from app.core.security.access_tokens import InvalidToken
from app.core.web.openapi import JWT, SECRET

SECRET_HEADER = "x-org-secret"  # noqa: S105 - a name


class Access:
    """What an operation asks of its caller: `Depends` on it gives the `Caller`.

    Args:
        needed: the permission that a user needs; without one, any signed-in user will do.
        users: whether a user's access token will do.
        secret: whether an organisation's secret will do.
        in_body: whether the secret may also come in the body.
        customers: whether customers may call it; then it sees to it that they reach their own things only.
        before_second_factor: whether it serves users who have yet to set up the second factor they must have.
    """

    def __init__(
        self,
        needed: tuple[Resource, Action] | None = None,
        *,
        users: bool = True,
        secret: bool = False,
        in_body: bool = False,
        customers: bool = False,
        before_second_factor: bool = False,
    ) -> None:
        self.permission = permission(*needed) if needed else None
        self.users = users
        self.secret = secret
        self.in_body = in_body
        self.customers = customers or needed is None
        self.before_second_factor = before_second_factor

    async def __call__(self, request: Request) -> Caller:
        """The caller, who may.

        Raises:
            one of `errors`
        """
        given = await self._secret_of(request)
        if self.secret and given is not None and (self.in_body or "authorization" not in request.headers):
            return _caller(request, await _credential_cache(request).by_secret(given))
        caller = await self._by_token(request, given)
        if not self.users:
            raise SecretRequired
        self._check(caller)
        return caller

    async def _secret_of(self, request: Request) -> str | None:
        in_header = request.headers.get(SECRET_HEADER)
        if not self.in_body:
            return in_header
        try:
            body = await request.json()
        except ValueError:  # no JSON: the body's own validation says so, if the header has a good secret
            body = None
        in_body = body.get("secret") if isinstance(body, dict) else None
        if not isinstance(in_body, str):
            return in_header
        if in_header and in_header != in_body:
            raise SecretMismatch
        return in_body

    async def _by_token(self, request: Request, secret: str | None) -> Caller:
        if "authorization" not in request.headers and secret is not None:
            _caller(request, await _credential_cache(request).by_secret(secret))
            raise UserRequired
        token = _bearer_token(request)
        if token is None:
            raise MissingCredential
        tenant, user = await _credential_cache(request).by_token(token)
        request.state.org_id = tenant.id
        return Caller(tenant=tenant, user=user, now=tenant.now())

    def _check(self, caller: Caller) -> None:
        user = caller.somebody
        if not self.before_second_factor and lacks_second_factor(caller.tenant, user):
            raise SecondFactorRequired
        if self.permission is not None and self.permission not in user.permissions:
            raise PermissionRequired(f"This needs the permission {self.permission}.")
        if user.role == RoleKind.CUSTOMER and not self.customers:
            raise NotForCustomers

    @property
    def asks(self) -> str:
        """What the caller must be or have, in words."""
        if not self.users:
            return "the organisation's secret"
        if self.permission is None:
            return "signed in"
        besides = "" if self.customers else ", and not for customers"
        return f"`{self.permission}` of users{besides}"

    @property
    def credentials(self) -> list[dict[str, list[str]]]:
        """OpenAPI's `security`: any one of these will do."""
        found = [SECRET] if self.secret else []
        found += [JWT] if self.users else []
        return [*found, {}] if self.in_body else found  # the body's secret is no header that OpenAPI knows

    @property
    def errors(self) -> tuple[type[TesseraError], ...]:
        """What it can raise."""
        found: list[type[TesseraError]] = [MissingCredential, InvalidToken, InvalidSecret]
        found += [SecretMismatch] if self.in_body else []
        found += [] if self.secret else [UserRequired]
        found += [] if self.users else [SecretRequired]
        found += [PermissionRequired] if self.users and self.permission else []
        found += [] if self.customers or not self.users else [NotForCustomers]
        found += [SecondFactorRequired] if self.users and not self.before_second_factor else []
        return tuple(found)


def may(resource: Resource, action: Action, **more: bool) -> Any:
    """The dependency of an operation on a permission; `more` is as in `Access`."""
    return Depends(Access((resource, action), **more))


# The caller of an operation that every signed-in user may call, for themselves.
Myself = Annotated[Caller, Depends(Access())]
# The same, where it also serves users who have yet to set up their second factor.
MyselfAtOnce = Annotated[Caller, Depends(Access(before_second_factor=True))]
# A product of the organisation, by the secret in the header or in the body.
Product = Annotated[Caller, Depends(Access(users=False, secret=True, in_body=True))]


def _credential_cache(request: Request) -> CredentialLookup:
    return cast("CredentialLookup", request.app.state.credential_cache)


def _caller(request: Request, tenant: Tenant) -> Caller:
    request.state.org_id = tenant.id
    return Caller(tenant=tenant, user=None, now=tenant.now())


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def database_of(request: Request) -> Database:
    """The pool of the process that serves this request."""
    return cast("Database", request.app.state.database)


def secret_key_of(request: Request) -> str:
    """What tokens and cursors are signed with."""
    return cast("str", request.app.state.secret_key)


def attempts_of(request: Request) -> Attempts:
    """What counts attempts in this process."""
    return cast("Attempts", request.app.state.attempts)


def address_of(request: Request) -> str | None:
    """The client's address: behind trusted proxies, what they say it is."""
    return request.client.host if request.client else None


@asynccontextmanager
async def acting_at_once(request: Request, org_id: UUID, user_id: UUID | None = None) -> AsyncIterator[AsyncSession]:
    """A transaction after which credentials are looked up again: what it changed counts at once in this process.

    Args:
        user_id: whose alone, where it changes nothing about anybody else.
    """
    async with database_of(request).session(org_id) as db:
        yield db
    forget_credentials(request, org_id, user_id)  # after the commit, or they might be looked up as they were before


def forget_credentials(request: Request, org_id: UUID, user_id: UUID | None = None) -> None:
    """Have the credentials of an organisation and its users, or of one user, looked up again."""
    _credential_cache(request).forget(org_id, user_id)


async def tenant_session(request: Request) -> AsyncIterator[AsyncSession]:
    """The request's transaction, in the caller's organisation. Declare it after the caller."""
    async with database_of(request).session(request.state.org_id) as db:
        yield db


# Scope "function" commits before the answer is sent: an answer never promises what a failed commit takes back.
Db = Annotated[AsyncSession, Depends(tenant_session, scope="function")]

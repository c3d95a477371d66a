"""Resolve secret keys and access tokens, and cache the results for a few seconds.

A revoked secret key, an ended session, a suspended or erased user therefore loses access within `LIFETIME` seconds,
and a changed role takes effect within them. Sandbox organisations are not cached, because their clock can be moved at
any time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from app.access.callers import Principal
from app.access.errors import InvalidSecretKey
from app.access.tenant import Tenant
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.expiring_cache import ExpiringCache
from app.core.security.access_tokens import AccessClaims, InvalidToken, read_access_token
from app.core.security.secret_keys import hash_secret_key, is_secret_key

if TYPE_CHECKING:
    from app.core.database.pool import Driver

LIFETIME = 5.0  # seconds
CLAIMS_LIFETIME = 60.0  # seconds
MAX_ENTRIES = 10_000
MAX_CLAIMS = 50_000  # more, because they are small and last longer

# Finds the active organisation whose secret key has this hash and is not revoked.
FindTenant = Callable[[Database, bytes], Awaitable[Tenant | None]]
# Finds an active user by organisation, user and session, unless the session has ended at this (real) time.
FindUser = Callable[["Driver", UUID, UUID, UUID, datetime], Awaitable[tuple[Tenant, Principal] | None]]


class CredentialCache:
    """The cache of the credentials that one process has resolved.

    Args:
        signing_key: verifies access tokens.
        find_tenant: reads the organisation of a secret key.
        find_user: reads the user of a session, with the organisation.
    """

    def __init__(self, database: Database, signing_key: str, *, find_tenant: FindTenant, find_user: FindUser) -> None:
        self._database = database
        self._signing_key = signing_key
        self._find_tenant = find_tenant
        self._find_user = find_user
        self._tenants: ExpiringCache[Tenant] = ExpiringCache(seconds=LIFETIME, size=MAX_ENTRIES)
        self._users: ExpiringCache[tuple[Tenant, Principal]] = ExpiringCache(seconds=LIFETIME, size=MAX_ENTRIES)
        self._claims: ExpiringCache[AccessClaims] = ExpiringCache(seconds=CLAIMS_LIFETIME, size=MAX_CLAIMS)

    async def resolve_secret_key(self, secret: str) -> Tenant:
        """Return the organisation of a secret key. A key with a wrong checksum is refused without a query.

        Raises:
            InvalidSecretKey: no organisation has the secret key, or it was revoked.
        """
        if not is_secret_key(secret):
            raise InvalidSecretKey
        hashed = hash_secret_key(secret)
        tenant = self._tenants.get(hashed)
        if tenant is None:
            tenant = await self._find_tenant(self._database, hashed)
            if tenant is None:
                raise InvalidSecretKey
            if not tenant.sandbox:
                self._tenants.put(hashed, tenant)
        return tenant

    async def resolve_access_token(self, token: str) -> tuple[Tenant, Principal]:
        """Return the organisation and the user of an access token.

        Raises:
            InvalidToken: the token is not valid, its session has ended, or its user is not active.
        """
        claims = self.read_claims(token)
        key = (claims.org_id, claims.user_id, claims.session_id)
        found = self._users.get(key)
        if found is None:
            async with self._database.driver(claims.org_id) as driver:
                found = await self._find_user(driver, *key, real_now())
            if found is None:
                raise InvalidToken
            tenant, _user = found
            if not tenant.sandbox:
                self._users.put(key, found)
        return found

    def read_claims(self, token: str) -> AccessClaims:
        """Return the claims of an access token that this service issued and that has not expired.

        Raises:
            InvalidToken
        """
        # Checking a signature is cheap, but parsing the same token again costs a tenth of a small request.
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._claims.get(key)
        if claims is None or claims.expires_at <= time.time():
            claims = read_access_token(self._signing_key, token)
            self._claims.put(key, claims)
        return claims

    def invalidate(self, org_id: UUID, user_id: UUID | None = None) -> None:
        """Drop the entries of one user, or of an organisation and all its users.

        A concurrent lookup may still put back what it read before the change, for `LIFETIME` seconds.
        """
        prefix = (org_id,) if user_id is None else (org_id, user_id)
        self._users.discard(lambda key, _found: key[: len(prefix)] == prefix)
        if user_id is None:
            self._tenants.discard(lambda _key, tenant: tenant.id == org_id)

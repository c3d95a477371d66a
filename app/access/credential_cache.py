"""Resolve secret keys and access tokens, and cache the results.

The cache learns of changes by `credential_changes.py`. A revoked secret key, an ended session, a suspended or erased
user therefore loses access within `MAX_SILENCE` seconds, and a changed role takes effect within them. Sandbox
organisations are not cached, because their clock can be moved at any time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar
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

T = TypeVar("T")

# A change that no transaction recorded, made by an operator with SQL say, takes effect after this time at the latest.
MAX_AGE = 300.0  # seconds
# A process that has read no changes for this long uses only lookups that are younger than this.
MAX_SILENCE = 5.0  # seconds
MAX_ENTRIES = 50_000  # of each kind: users take up to 80 MB
MAX_CHANGES = 100_000

# Finds the active organisation whose secret key has this hash and is not revoked.
FindTenant = Callable[[Database, bytes], Awaitable[Tenant | None]]
# Finds an active user by organisation, user and session, unless the session has ended at this (real) time.
FindUser = Callable[["Driver", UUID, UUID, UUID, datetime], Awaitable[tuple[Tenant, Principal] | None]]


@dataclass(frozen=True, slots=True)
class _Lookup(Generic[T]):
    """What a lookup found that began at a time of the monotonic clock."""

    found: T
    began_at: float


class _LastChanges:
    """When the credentials of users and organisations changed last, on the monotonic clock."""

    def __init__(self) -> None:
        self._all_changed_at = 0.0
        self._changed_at: dict[UUID, float] = {}

    def note_change(self, changed_id: UUID) -> None:
        """Note a change of a user, or of an organisation and all its users."""
        if len(self._changed_at) >= MAX_CHANGES:
            self.note_all_changed()
        self._changed_at[changed_id] = time.monotonic()

    def note_all_changed(self) -> None:
        """Note a change of all users and organisations."""
        self._all_changed_at = time.monotonic()
        self._changed_at.clear()

    def was_changed(self, since: float, *ids: UUID) -> bool:
        """Return whether one of these changed at this time or later."""
        return since <= max(self._all_changed_at, *(self._changed_at.get(changed_id, 0.0) for changed_id in ids))


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
        self._tenants: ExpiringCache[_Lookup[Tenant]] = ExpiringCache(seconds=MAX_AGE, size=MAX_ENTRIES)
        self._users: ExpiringCache[_Lookup[tuple[Tenant, Principal]]] = ExpiringCache(seconds=MAX_AGE, size=MAX_ENTRIES)
        self._claims: ExpiringCache[AccessClaims] = ExpiringCache(seconds=MAX_AGE, size=MAX_ENTRIES)
        self._changes = _LastChanges()
        self._changes_read_at = -MAX_SILENCE

    async def resolve_secret_key(self, secret: str) -> Tenant:
        """Return the organisation of a secret key. A key with a wrong checksum is refused without a query.

        Raises:
            InvalidSecretKey: no organisation has the secret key, or it was revoked.
        """
        if (cached := self.find_cached_tenant(secret)) is not None:
            return cached
        hashed, began_at = hash_secret_key(secret), time.monotonic()
        tenant = await self._find_tenant(self._database, hashed)
        if tenant is None:
            raise InvalidSecretKey
        if not tenant.sandbox:
            self._tenants.put(hashed, _Lookup(tenant, began_at))
        return tenant

    def find_cached_tenant(self, secret: str) -> Tenant | None:
        """Return the organisation of a secret key; `None` if it must be looked up.

        Raises:
            InvalidSecretKey: the key has a wrong checksum.
        """
        if not is_secret_key(secret):
            raise InvalidSecretKey
        cached = self._tenants.get(hash_secret_key(secret))
        return cached.found if cached is not None and self._is_valid(cached.began_at, cached.found.id) else None

    async def resolve_access_token(self, token: str) -> tuple[Tenant, Principal]:
        """Return the organisation and the user of an access token.

        Raises:
            InvalidToken: the token is not valid, its session has ended, or its user is not active.
        """
        return await self.resolve_claims(self.read_claims(token))

    async def resolve_claims(self, claims: AccessClaims, *, cached: bool = True) -> tuple[Tenant, Principal]:
        """Return the organisation and the user of the claims of an access token.

        Args:
            cached: whether an earlier lookup counts.

        Raises:
            InvalidToken: the session has ended, or the user is not active.
        """
        key = (claims.org_id, claims.user_id, claims.session_id)
        lookup = self._users.get(key) if cached else None
        if lookup is not None and self._is_valid(lookup.began_at, claims.org_id, claims.user_id):
            return lookup.found  # a session lasts at least as long as its access tokens
        began_at = time.monotonic()
        async with self._database.driver(claims.org_id) as driver:
            found = await self._find_user(driver, *key, real_now())
        if found is None:
            raise InvalidToken
        tenant, _user = found
        if not tenant.sandbox:
            self._users.put(key, _Lookup(found, began_at))
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
        """Mark the credentials of one user, or of an organisation and all its users, as changed.

        They are looked up again. A lookup that is running does not count: it may have read the state before the change.
        """
        self._changes.note_change(org_id if user_id is None else user_id)

    def invalidate_all(self) -> None:
        """Mark all credentials as changed."""
        self._changes.note_all_changed()

    def note_changes_read(self, read_at: float) -> None:
        """Note that the cache knows all changes before a time of the monotonic clock."""
        self._changes_read_at = read_at

    def _is_valid(self, began_at: float, *ids: UUID) -> bool:
        """Return whether what a lookup has found is still true, as far as this process can know."""
        if self._changes.was_changed(began_at, *ids):
            return False
        return time.monotonic() - max(began_at, self._changes_read_at) < MAX_SILENCE

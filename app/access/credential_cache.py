"""Looks credentials up, and remembers what it found for a few seconds.

A secret, a session or a user that is revoked, ended, suspended or erased so stops working within `REMEMBER` seconds,
and a change of somebody's role acts within them. A sandbox is looked up every time: its clock may have moved.
"""

from __future__ import annotations

import hashlib
import time
from uuid import UUID

from app.access.callers import InvalidSecret, Principal
from app.access.tenant import Tenant
from app.authentication.sessions import queries
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.expiring_cache import ExpiringCache
from app.core.security.access_tokens import AccessClaims, InvalidToken, read_access_token
from app.core.security.secret_keys import is_secret, secret_hash
from app.organisations.queries import by_secret

REMEMBER = 5.0  # seconds
SIZE = 10_000


class CredentialCache:
    """One per process.

    Args:
        secret_key: what access tokens are signed with.
    """

    def __init__(self, database: Database, secret_key: str) -> None:
        self._database = database
        self._secret_key = secret_key
        self._tenants: ExpiringCache[Tenant] = ExpiringCache(seconds=REMEMBER, size=SIZE)
        self._users: ExpiringCache[tuple[Tenant, Principal]] = ExpiringCache(seconds=REMEMBER, size=SIZE)
        self._claims: ExpiringCache[AccessClaims] = ExpiringCache(seconds=60, size=SIZE)

    async def by_secret(self, secret: str) -> Tenant:
        """The organisation of a secret. One with a bad checksum is refused without a query.

        Raises:
            InvalidSecret: nobody has it, or it was revoked.
        """
        if not is_secret(secret):
            raise InvalidSecret
        hashed = secret_hash(secret)
        tenant = self._tenants.get(hashed)
        if tenant is None:
            async with self._database.session(None) as db:
                tenant = await by_secret(db, hashed)
            if tenant is None:
                raise InvalidSecret
            if not tenant.sandbox:
                self._tenants.put(hashed, tenant)
        return tenant

    async def by_token(self, token: str) -> tuple[Tenant, Principal]:
        """The user of an access token, and their organisation.

        Raises:
            InvalidToken: the token is not good, its session has ended, or its user is not active.
        """
        claims = self.claims_of(token)
        key = (claims.org_id, claims.user_id, claims.session_id)
        found = self._users.get(key)
        if found is None:
            async with self._database.session(claims.org_id) as db:
                found = await queries.principal(db, *key, real_now())
            if found is None:
                raise InvalidToken
            if not found[0].sandbox:
                self._users.put(key, found)
        return found

    def claims_of(self, token: str) -> AccessClaims:
        """What an access token says, if it is ours and has not expired.

        Raises:
            InvalidToken
        """
        # Checking a signature is cheap, but parsing twice what was just parsed is a tenth of a small request.
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._claims.get(key)
        if claims is None or claims.expires_at <= time.time():
            claims = read_access_token(self._secret_key, token)
            self._claims.put(key, claims)
        return claims

    def forget(self, org_id: UUID, user_id: UUID | None = None) -> None:
        """Look an organisation and its users, or one user, up again: something has changed in this process.

        A lookup that began before may still put back what it read, and have it remembered for `REMEMBER` seconds.
        """
        of_whom = (org_id,) if user_id is None else (org_id, user_id)
        self._users.discard(lambda key, _found: key[: len(of_whom)] == of_whom)
        if user_id is None:
            self._tenants.discard(lambda _key, tenant: tenant.id == org_id)

"""Limits on signing up and in: they slow guessing down, and never lock the owner of an account out.

Attempts count per address, and failures per account and address. An account that many addresses guess at allows fewer
tries to each address that it has not been used from before.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from app.core.config import Settings
from app.core.limits import Limiter, network_of

# What an unknown address may still try on an account under attack.
GUARDED_LIMIT = "3/5 minutes"


class Attempts:
    """One per process.

    Args:
        limiter: holds the counts.
        settings: `sign_up_limit`, `sign_in_limit`, `sign_in_failure_limit`, `account_failure_limit`.
    """

    def __init__(self, limiter: Limiter, settings: Settings) -> None:
        self._limiter = limiter
        self._settings = settings

    async def sign_up(self, org_id: UUID, address: str | None) -> None:
        """Count a sign-up in an organisation.

        Raises:
            TooMany
        """
        await self._limiter.hit(self._settings.sign_up_limit, "sign-up", network_of(address))
        await self._limiter.hit(self._settings.sign_up_limit, "sign-up-org", str(org_id))

    async def sign_in(self, email: str, address: str | None) -> None:
        """Count an attempt to sign in; `signed_in` takes it back.

        Raises:
            TooMany
        """
        account, network = _account(email), network_of(address)
        await self._limiter.hit(self._settings.sign_in_limit, "sign-in", network)
        under_attack = await self._limiter.is_used_up(self._settings.account_failure_limit, "account", account)
        if under_attack and not await self._limiter.is_familiar(account, network):
            await self._limiter.hit(GUARDED_LIMIT, "guarded", account, network)
        await self._limiter.hit(self._settings.sign_in_failure_limit, "failures", account, network)

    async def failed(self, email: str) -> None:
        """Note a wrong password."""
        await self._limiter.count(self._settings.account_failure_limit, "account", _account(email))

    async def signed_in(self, email: str, address: str | None) -> None:
        """Note that this address belongs to the account's owner."""
        account, network = _account(email), network_of(address)
        await self._limiter.clear(self._settings.sign_in_failure_limit, "failures", account, network)
        await self._limiter.remember_familiar(account, network)


def _account(email: str) -> str:
    # Not the address itself: what counts attempts may live in another system.
    return hashlib.sha256(email.encode()).hexdigest()[:32]

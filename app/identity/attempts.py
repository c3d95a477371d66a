"""Limits on signing up and in: they slow guessing down, and never lock the owner of an account out.

Attempts count per address, and failures per account and address. An account that many addresses guess at allows fewer
tries to each address that it has not been used from before.

Somebody can make an organisation of their own, and an account with another's e-mail in it. To sign in to that one
must not win further guesses at the other, so it takes back its own attempt and none of those before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from app.core.config import Settings
from app.core.limits import Limiter, network_of

# What an unknown address may still try on an account under attack.
GUARDED_LIMIT = "3/5 minutes"


@dataclass(frozen=True)
class Attempt:
    """Somebody's attempt to sign in."""

    account: str
    network: str
    guarded: bool


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

    async def sign_in(self, email: str, domain: str | None, address: str | None) -> Attempt:
        """Count an attempt to sign in, as a failure until `take_back` says that it was none.

        Raises:
            TooMany
        """
        account, network = _account(email, domain), network_of(address)
        await self._limiter.hit(self._settings.sign_in_limit, "sign-in", network)
        guarded = await self._limiter.is_used_up(
            self._settings.account_failure_limit, "account", account
        ) and not await self._limiter.is_familiar(account, network)
        if guarded:
            await self._limiter.hit(GUARDED_LIMIT, "guarded", account, network)
        await self._limiter.hit(self._settings.sign_in_failure_limit, "failures", account, network)
        return Attempt(account, network, guarded)

    async def failed(self, attempt: Attempt) -> None:
        """Note a wrong password."""
        await self._limiter.count(self._settings.account_failure_limit, "account", attempt.account)

    async def take_back(self, attempt: Attempt) -> None:
        """Note that the password was right, or was not looked at."""
        if attempt.guarded:
            await self._limiter.take_back(GUARDED_LIMIT, "guarded", attempt.account, attempt.network)
        await self._limiter.take_back(
            self._settings.sign_in_failure_limit, "failures", attempt.account, attempt.network
        )

    async def remember(self, attempt: Attempt) -> None:
        """Note that this address belongs to the account's owner."""
        await self._limiter.remember_familiar(attempt.account, attempt.network)


def _account(email: str, domain: str | None) -> str:
    # Not the address itself: what counts attempts may live in another system.
    return hashlib.sha256(f"{email}\n{domain or ''}".encode()).hexdigest()[:32]

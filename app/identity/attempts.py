"""Limits on signing up and in: they slow guessing down, and never lock the owner of an account out.

Attempts count per address, and failures per account and address. An account that many addresses guess at allows fewer
tries to each address that it has not been used from before. Codes of a second factor count per person, wherever they
come from: only somebody who knows the password gets as far as that.

Somebody can make an organisation of their own, and an account with another's e-mail in it. To sign in to that one
must not win further guesses at the other, so it takes back its own attempt and none of those before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from app.core.config import Settings
from app.core.errors import TooMany
from app.core.limits import Limiter, network_of

# What an unknown address may still try on an account under attack.
GUARDED_LIMIT = "3/5 minutes"
# Mails of a kind that anybody can have sent to an e-mail. Who is refused because others used it up has them already,
# with links that are valid for longer than this.
MAIL_LIMIT = "5/15 minutes"


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
        settings: `sign_up_limit`, `sign_in_limit`, `sign_in_failure_limit`, `account_failure_limit`,
            `second_factor_limit`.
    """

    def __init__(self, limiter: Limiter, settings: Settings) -> None:
        self._limiter = limiter
        self._settings = settings

    async def sign_up(self, address: str | None, org_id: UUID | None = None) -> None:
        """Count a sign-up.

        Args:
            org_id: whose secret it was done with. What anybody may do counts for no organisation: one stranger must not
                use up what is everybody's.

        Raises:
            TooMany
        """
        await self._limiter.hit(self._settings.sign_up_limit, "sign-up", network_of(address))
        if org_id is not None:
            await self._limiter.hit(self._settings.sign_up_limit, "sign-up-org", str(org_id))

    async def sign_in(self, email: str, domain: str | None, address: str | None) -> Attempt:
        """Count an attempt to sign in, as a failure until `take_back` says that it was none.

        Raises:
            TooMany
        """
        return await self._attempt(_account(email, domain), network_of(address))

    async def confirm(self, person_id: UUID, address: str | None) -> Attempt:
        """Count a signed-in person's attempt to confirm something with their password, in the same way.

        Raises:
            TooMany
        """
        return await self._attempt(str(person_id), network_of(address))

    async def recovery(self, address: str | None) -> None:
        """Count a call that anybody may make to get back into an account.

        Raises:
            TooMany
        """
        await self._limiter.hit(self._settings.sign_in_limit, "recovery", network_of(address))

    async def social(self, address: str | None) -> None:
        """Count a step of a social sign-in, whoever it may be.

        Raises:
            TooMany
        """
        await self._limiter.hit(self._settings.sign_in_limit, "social", network_of(address))

    async def mail(self, kind: str, email: str) -> None:
        """Count that somebody wants a mail of this kind sent to an e-mail, whether or not anybody has it.

        Raises:
            TooMany
        """
        await self._limiter.hit(MAIL_LIMIT, "mail", kind, _account(email, None))

    async def may_mail(self, kind: str, email: str) -> bool:
        """The same, where the answer must not tell that it was too many."""
        try:
            await self.mail(kind, email)
        except TooMany:
            return False
        return True

    async def _attempt(self, account: str, network: str) -> Attempt:
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

    async def guess(self, person_id: UUID) -> None:
        """Count a code of somebody's second factor, as a wrong one until `take_guess_back` says that it was not.

        Raises:
            TooMany
        """
        await self._limiter.hit(self._settings.second_factor_limit, "second-factor", str(person_id))

    async def take_guess_back(self, person_id: UUID) -> None:
        """Note that the code was right, or was not looked at."""
        await self._limiter.take_back(self._settings.second_factor_limit, "second-factor", str(person_id))

    async def remember(self, attempt: Attempt) -> None:
        """Note that this address belongs to the account's owner."""
        await self._limiter.remember_familiar(attempt.account, attempt.network)


def _account(email: str, domain: str | None) -> str:
    # Not the address itself: what counts attempts may live in another system.
    return hashlib.sha256(f"{email}\n{domain or ''}".encode()).hexdigest()[:32]

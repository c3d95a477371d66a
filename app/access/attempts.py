"""Limits on signing up and in: they slow guessing down, and never lock the owner of an account out.

Attempts count per address, and failures per account and address. An account that many addresses guess at allows fewer
tries to each address that it has not been used from before. Codes of a second factor count per user, wherever they
come from: only somebody who knows the password gets as far as that.

Somebody can make an organisation of their own, and an account with another's e-mail in it. To sign in to that one
must not win further guesses at the other: it takes back its own attempt and none of those before, and not even that
where the password did not fit all the accounts that it was compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from app.core.config import Settings
from app.core.errors import TooMany
from app.core.web.limits import Limiter, network_of

# What an unknown address may still try on an account under attack.
GUARDED_LIMIT = "3/5 minutes"
# Mails of a kind that anybody can have sent to an account or an e-mail. Who is refused because others used it up has
# them already, with links that are valid for longer than this.
MAIL_LIMIT = "5/15 minutes"
# Per organisation and address: to take an invitation back and make it again does not start anew.
INVITATION_LIMIT = "10/hour"
INVITATIONS_LIMIT = "1000/hour"  # to anybody: strangers may be invited by whoever has made an organisation

# What an attempt that failed ends in.
Failure = type[Exception] | tuple[type[Exception], ...]


@dataclass
class Attempt:
    """Somebody's attempt at a password. Who sees that it was wrong, whatever it ends in, says so with `failed`."""

    account: str
    network: str
    guarded: bool
    failed: bool = False


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

    def sign_in(
        self, email: str, domain: str | None, address: str | None, *, failure: Failure
    ) -> AbstractAsyncContextManager[Attempt]:
        """Count what is tried within as a failure to sign in, unless it ends in something else.

        Raises:
            TooMany
        """
        return self._password(_account(email, domain), network_of(address), failure)

    def confirm(self, user_id: UUID, address: str | None, *, failure: Failure) -> AbstractAsyncContextManager[Attempt]:
        """The same, where a signed-in user confirms something with their password.

        Raises:
            TooMany
        """
        return self._password(str(user_id), network_of(address), failure)

    @asynccontextmanager
    async def guess(self, user_id: UUID, *, failure: Failure) -> AsyncIterator[None]:
        """Count what is tried within as a wrong code of somebody's second factor, unless it ends in something else.

        Raises:
            TooMany
        """
        counted = (self._settings.second_factor_limit, "second-factor", str(user_id))
        await self._limiter.hit(*counted)
        async with _taken_back_unless(failure, partial(self._limiter.take_back, *counted)):
            yield

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

    async def invitation(self, org_id: UUID, email: str) -> None:
        """Count that an organisation has an invitation sent to an e-mail.

        Raises:
            TooMany
        """
        await self._limiter.hit(INVITATION_LIMIT, "invitation", str(org_id), _account(email, None))
        await self._limiter.hit(INVITATIONS_LIMIT, "invitations", str(org_id))

    async def mail(self, kind: str, email: str) -> None:
        """Count that somebody wants a mail of this kind sent to an e-mail, whether or not anybody has it.

        Raises:
            TooMany
        """
        await self._limiter.hit(MAIL_LIMIT, "mail", kind, _account(email, None))

    async def may_mail(self, kind: str, user_id: UUID) -> bool:
        """Count that anybody wants a mail of this kind sent to an account; whether that is not too many.

        Per account, and only where there is one: to ask for an e-mail elsewhere must not use up its owner's.
        """
        try:
            await self._limiter.hit(MAIL_LIMIT, "mail", kind, str(user_id))
        except TooMany:
            return False
        return True

    @asynccontextmanager
    async def _password(self, account: str, network: str, failure: Failure) -> AsyncIterator[Attempt]:
        attempt = await self._attempt(account, network)
        try:
            async with _taken_back_unless(failure, partial(self._take_back, attempt)):
                yield attempt
        except failure:
            attempt.failed = True
            raise
        finally:
            if attempt.failed:
                await self._limiter.count(self._settings.account_failure_limit, "account", account)

    async def _attempt(self, account: str, network: str) -> Attempt:
        await self._limiter.hit(self._settings.sign_in_limit, "sign-in", network)
        guarded = await self._limiter.is_used_up(
            self._settings.account_failure_limit, "account", account
        ) and not await self._limiter.is_familiar(account, network)
        if guarded:
            await self._limiter.hit(GUARDED_LIMIT, "guarded", account, network)
        await self._limiter.hit(self._settings.sign_in_failure_limit, "failures", account, network)
        return Attempt(account, network, guarded)

    async def _take_back(self, attempt: Attempt) -> None:
        if attempt.failed:
            return
        if attempt.guarded:
            await self._limiter.take_back(GUARDED_LIMIT, "guarded", attempt.account, attempt.network)
        await self._limiter.take_back(
            self._settings.sign_in_failure_limit, "failures", attempt.account, attempt.network
        )

    async def remember(self, attempt: Attempt) -> None:
        """Note that this address belongs to the account's owner."""
        await self._limiter.remember_familiar(attempt.account, attempt.network)


@asynccontextmanager
async def _taken_back_unless(failure: Failure, take_back: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Take back what was counted before: the secret was right, or was not looked at. A failure it stays after one."""
    try:
        yield
    except failure:
        raise
    except Exception:
        await take_back()
        raise
    await take_back()


def _account(email: str, domain: str | None) -> str:
    # Not the address itself: what counts attempts may live in another system.
    return hashlib.sha256(f"{email}\n{domain or ''}".encode()).hexdigest()[:32]

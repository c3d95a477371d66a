"""Limits on attempts: they slow guessing down without locking users out, and bound mails and uploads.

Attempts count per network, and failures per account and network. If an account has too many failures in total, networks
from which it has not been used before get fewer attempts. Second-factor codes count per user, from any network: only a
caller who knows the password can try one.

An attacker can sign up an organisation, and in it an account with the e-mail address of a user of another organisation.
Signing in to that account must not give the attacker further guesses at the user's account. Therefore a success refunds
one attempt, and none if the password was wrong for any of the accounts that it was compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from uuid import UUID

from app.access.callers import Caller, UserCaller
from app.core.config import Settings
from app.core.errors import TooMany
from app.core.web.limiter import Limiter, get_network

# Per network from which an account with too many failures has not been used before.
UNKNOWN_NETWORK_LIMIT = "3/5 minutes"
# Per account (or e-mail address) and kind of mail, for mails that anyone can request. If strangers use up the limit,
# the user has the mails already, and their links are valid for longer than the period of the limit.
MAIL_LIMIT = "5/15 minutes"
# Per organisation and e-mail address: cancelling an invitation and making another does not reset the count.
INVITATION_LIMIT_PER_EMAIL = "10/hour"
# Per organisation: any organisation may invite strangers.
INVITATION_LIMIT_PER_ORGANISATION = "1000/hour"
# Per organisation, for proofs of domains, each of which may look up a TXT record. Those that mail links to a postmaster
# have further limits: per organisation and domain, and per organisation, of domains and of all.
DOMAIN_PROOF_LIMIT = "60/hour"
DOMAIN_MAIL_LIMIT = "3/hour"
DOMAIN_MAIL_LIMIT_PER_ORGANISATION = "10/day"
MAILED_DOMAINS_LIMIT = "3/day"
_ONCE_A_DAY = "1/day"  # remembers a domain that counts already
# Per user: decoding the largest picture takes a second of CPU.
PICTURE_UPLOAD_LIMIT = "20/hour"


class Limit(StrEnum):
    """The limit that an operation announces before a request has been counted. Clients see these names."""

    ORGANISATION_SIGN_UP = "org-sign-up"
    SIGN_UP = "sign-up"
    SIGN_IN = "sign-in"
    LINKS = "recovery"
    SOCIAL = "social"
    SECOND_FACTOR = "second-factor"
    PICTURE = "picture"
    INVITATIONS = "invitations"
    DOMAIN_PROOFS = "domain-proofs"


# The exceptions that are raised if the guess was wrong.
Failure = type[Exception] | tuple[type[Exception], ...]


@dataclass
class Attempt:
    """An attempt at a password.

    `restricted`: the account has too many failures, and has not been used from this network before. Set `failed` if the
    password was wrong but the block does not raise a failure.
    """

    account: str
    network: str
    restricted: bool
    failed: bool = False


class Attempts:
    """Count the attempts of a process, or of all processes that share a Redis.

    Args:
        limiter: holds the counts.
        settings: `sign_up_limit`, `sign_in_limit`, `sign_in_failure_limit`, `account_failure_limit`,
            `second_factor_limit`.
    """

    def __init__(self, limiter: Limiter, settings: Settings) -> None:
        self._limiter = limiter
        self._settings = settings

    async def announce(self, limit: Limit, address: str | None, caller: Caller | None) -> None:
        """Announce the limit of an operation without counting an attempt.

        Args:
            caller: `None` if it is unknown. Then a limit that counts per user or organisation is unused.
        """
        rates = {
            Limit.ORGANISATION_SIGN_UP: self._settings.sign_up_limit,
            Limit.SIGN_UP: self._settings.sign_up_limit,
            Limit.SECOND_FACTOR: self._settings.second_factor_limit,
            Limit.PICTURE: PICTURE_UPLOAD_LIMIT,
            Limit.INVITATIONS: INVITATION_LIMIT_PER_ORGANISATION,
            Limit.DOMAIN_PROOFS: DOMAIN_PROOF_LIMIT,
        }
        match limit:
            case Limit.SECOND_FACTOR | Limit.PICTURE:
                counted_for = str(caller.user.id) if isinstance(caller, UserCaller) else "unknown"
            case Limit.INVITATIONS | Limit.DOMAIN_PROOFS:
                counted_for = str(caller.org_id) if caller else "unknown"
            case _:
                counted_for = get_network(address)
        await self._limiter.announce(rates.get(limit, self._settings.sign_in_limit), limit, counted_for)

    async def count_sign_up(self, address: str | None, org_id: UUID | None = None) -> None:
        """Count a sign-up.

        Args:
            org_id: the organisation whose secret key the request has. A public sign-up counts for no organisation:
                otherwise an attacker could use up its limit.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(self._settings.sign_up_limit, Limit.SIGN_UP, get_network(address))
        if org_id is not None:
            await self._limiter.count_or_refuse(self._settings.sign_up_limit, "sign-up-org", str(org_id))

    async def count_organisation_sign_up(self, address: str | None) -> None:
        """Count the sign-up of an organisation.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(
            self._settings.sign_up_limit, Limit.ORGANISATION_SIGN_UP, get_network(address)
        )

    def counting_sign_in(
        self, email: str, domain: str | None, address: str | None, *, failure: Failure
    ) -> AbstractAsyncContextManager[Attempt]:
        """Count an attempt to sign in before the block, and refund it unless it raises `failure`.

        Raises:
            TooMany
        """
        return self._counting_password(_account_key(email, domain), get_network(address), failure)

    def counting_confirmation(
        self, user_id: UUID, address: str | None, *, failure: Failure
    ) -> AbstractAsyncContextManager[Attempt]:
        """Count an attempt at a signed-in user's password before the block, and refund it unless it raises `failure`.

        Raises:
            TooMany
        """
        return self._counting_password(str(user_id), get_network(address), failure)

    @asynccontextmanager
    async def counting_code(self, user_id: UUID, *, failure: Failure) -> AsyncIterator[None]:
        """Count an attempt at a code of the second factor before the block, and refund it unless it raises `failure`.

        Raises:
            TooMany
        """
        counted = (self._settings.second_factor_limit, Limit.SECOND_FACTOR, str(user_id))
        await self._limiter.count_or_refuse(*counted)
        async with _refunding_unless(failure, partial(self._limiter.refund, *counted)):
            yield

    async def count_link_call(self, address: str | None) -> None:
        """Count a public call that requests or uses a mailed link.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(self._settings.sign_in_limit, Limit.LINKS, get_network(address))

    async def count_social_sign_in(self, address: str | None) -> None:
        """Count a step of a social sign-in.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(self._settings.sign_in_limit, Limit.SOCIAL, get_network(address))

    async def count_invitation(self, org_id: UUID, email: str) -> None:
        """Count an invitation that an organisation sends to an e-mail address.

        Raises:
            TooMany
        """
        key = ("invitation", str(org_id), _account_key(email, None))
        await self._limiter.count_or_refuse(INVITATION_LIMIT_PER_EMAIL, *key)
        await self._limiter.count_or_refuse(INVITATION_LIMIT_PER_ORGANISATION, Limit.INVITATIONS, str(org_id))

    async def count_domain_proof(self, method: str, org_id: UUID, domain: str) -> None:
        """Count an attempt of an organisation to prove a domain, by this method.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(DOMAIN_PROOF_LIMIT, Limit.DOMAIN_PROOFS, str(org_id))
        if method == "EMAIL":
            await self._limiter.count_or_refuse(DOMAIN_MAIL_LIMIT, "domain-mail", str(org_id), domain)
            mailed = (_ONCE_A_DAY, "mailed-domain", str(org_id), domain)
            if not await self._limiter.is_used_up(*mailed):
                await self._limiter.count_or_refuse(MAILED_DOMAINS_LIMIT, "mailed-domains", str(org_id))
                await self._limiter.count(*mailed)
            await self._limiter.count_or_refuse(DOMAIN_MAIL_LIMIT_PER_ORGANISATION, "domain-mails", str(org_id))

    async def count_mail(self, kind: str, email: str) -> None:
        """Count a request for a mail of this kind to an e-mail address, whether or not an account has it.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(MAIL_LIMIT, "mail", kind, _account_key(email, None))

    async def count_account_mail(self, kind: str, user_id: UUID) -> bool:
        """Count a request for a mail of this kind to an account; return whether it is within the limit.

        Counts per account, so that requests in one organisation do not use up the limit in another.
        """
        try:
            await self._limiter.count_or_refuse(MAIL_LIMIT, "mail", kind, str(user_id), announced=False)
        except TooMany:
            return False
        return True

    async def count_picture_upload(self, user_id: UUID) -> None:
        """Count a picture that a user uploads.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(PICTURE_UPLOAD_LIMIT, Limit.PICTURE, str(user_id))

    @asynccontextmanager
    async def _counting_password(self, account: str, network: str, failure: Failure) -> AsyncIterator[Attempt]:
        attempt = await self._begin(account, network)
        try:
            async with _refunding_unless(failure, partial(self._refund, attempt)):
                yield attempt
        except failure:
            attempt.failed = True
            raise
        finally:
            if attempt.failed:
                await self._limiter.count(self._settings.account_failure_limit, "account", account)

    async def _begin(self, account: str, network: str) -> Attempt:
        await self._limiter.count_or_refuse(self._settings.sign_in_limit, Limit.SIGN_IN, network)
        restricted = await self._limiter.is_used_up(
            self._settings.account_failure_limit, "account", account
        ) and not await self._limiter.is_known_network(account, network)
        try:
            if restricted:
                await self._limiter.count_or_refuse(UNKNOWN_NETWORK_LIMIT, "guarded", account, network)
            await self._limiter.count_or_refuse(self._settings.sign_in_failure_limit, "failures", account, network)
        except TooMany:  # the password is not looked at
            await self._limiter.refund(self._settings.sign_in_limit, Limit.SIGN_IN, network)
            raise
        return Attempt(account, network, restricted)

    async def _refund(self, attempt: Attempt) -> None:
        if attempt.failed:
            return
        if attempt.restricted:
            await self._limiter.refund(UNKNOWN_NETWORK_LIMIT, "guarded", attempt.account, attempt.network)
        await self._limiter.refund(self._settings.sign_in_failure_limit, "failures", attempt.account, attempt.network)

    async def remember_network(self, attempt: Attempt) -> None:
        """Note that the attempt's network belongs to the account's owner."""
        await self._limiter.remember_network(attempt.account, attempt.network)


@asynccontextmanager
async def _refunding_unless(failure: Failure, refund: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Refund the attempt if the block succeeds or raises another error than `failure`: then no guess was wrong."""
    try:
        yield
    except failure:
        raise
    except Exception:
        await refund()
        raise
    await refund()


def _account_key(email: str, domain: str | None) -> str:
    # Hashed: the counts may live in another system, which needs no e-mail addresses.
    return hashlib.sha256(f"{email}\n{domain or ''}".encode()).hexdigest()[:32]

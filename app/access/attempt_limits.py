"""Limits on attempts: they slow guessing down without locking users out, and bound mails and uploads.

A limit must not be a weapon: no count of what strangers do may refuse what a user needs. So each count includes who
acts, not only whom it concerns. "Network" is an IPv4 address or the /64 of an IPv6 address.

| limit | counted per | who can use it up | whom that hurts, and their way |
|---|---|---|---|
| sign-ups of organisations and users, sign-ins, links, social steps | network | clients of the network | the network |
| sign-ups with a secret key | also organisation | who has its secret key | the organisation |
| wrong passwords | account and network | clients of the network | the network |
| wrong passwords in total | account | anyone | unknown networks: 3 attempts in 5 minutes |
| wrong passwords of signed-in users | user and network | who has a token | the network |
| wrong codes at sign-in | user | who has the password | the user, except from networks where a code was right |
| wrong recovery codes at sign-in | user and network | clients of the network | the network |
| wrong codes of signed-in users | user and session | who has its token | the session: the user signs in again |
| sign-ups with an e-mail | organisation, e-mail and network | clients of the network | the network |
| changes of the e-mail | user and new e-mail, and user | the user | the user; not if the password is wrong |
| mails to an e-mail, of all organisations | e-mail and network | clients of the network | the network: no mail |
| those that its owner has not asked for | e-mail | anyone | unverified accounts: no mail, as long as it goes on |
| mails of links that anyone can request | account | anyone | no user: they have the mails already |
| invitations | organisation, also with the e-mail | who may invite | the organisation |
| proofs of domains | organisation, also with the domain | admins | the organisation |
| pictures | user | the user | the user |

Outside addresses that an organisation may mail to are counted in `notifications/recipient_limit.py`: strangers who sign
up can use half of them.

An attacker can sign up an organisation, and in it an account with the e-mail address of a user of another organisation.
Signing in to that account must not give the attacker further guesses at the user's account. Therefore a success refunds
one attempt, and none if the password was wrong for any of the accounts that it was compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
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
# Per account and kind of mail, for mails that anyone can request. If strangers use up the limit, the user has the mails
# already, and their links are valid for longer than the period of the limit. Also for mails to addresses that are not
# proved, per organisation or user, and address.
ACCOUNT_MAIL_LIMIT = "5/15 minutes"
# Per user, for mails to new addresses.
EMAIL_CHANGE_LIMIT = "20/hour"
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
            `second_factor_limit`, and the limits of mails to one e-mail address: `mail_limit` of those that clients of
            a network cause, `address_mail_limit` of those that clients of all networks cause.
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
            case Limit.SECOND_FACTOR if isinstance(caller, UserCaller):
                counted_for = _code_key(caller.user.id, caller.user.session_id)
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
    async def counting_code(
        self,
        user_id: UUID,
        *,
        failure: Failure,
        session_id: UUID | None = None,
        address: str | None = None,
        is_recovery_code: bool = False,
    ) -> AsyncIterator[None]:
        """Count an attempt at a code of the second factor before the block, and refund it unless it raises `failure`.

        Args:
            session_id: the session of a signed-in user; `None` at sign-in.
            address: the client's address at sign-in. A network where a code was right has a count of its own.
            is_recovery_code: whether it is one of the codes that no client can guess, however many networks it has. At
                sign-in they count per network, so that a client who has the password cannot keep the user out.

        Raises:
            TooMany
        """
        network, key = get_network(address), _code_key(user_id, session_id)
        if session_id is None:
            if is_recovery_code:
                key = f"{key} recovery {network}"
            elif await self._limiter.is_known_network("code", str(user_id), network):
                key = f"{key} {network}"
        counted = (self._settings.second_factor_limit, Limit.SECOND_FACTOR, key)
        await self._limiter.count_or_refuse(*counted)
        async with _refunding_unless(failure, partial(self._limiter.refund, *counted)):
            yield
        if session_id is None:
            await self._limiter.remember_network("code", str(user_id), network)

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

    async def count_invitation(self, org_id: UUID, email: str, address: str | None) -> None:
        """Count an invitation that an organisation sends to an e-mail address.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(self._settings.mail_limit, *_network_mails(email, address))
        key = ("invitation", str(org_id), _account_key(email, None))
        await self._limiter.count_or_refuse(INVITATION_LIMIT_PER_EMAIL, *key)
        await self._limiter.count_or_refuse(INVITATION_LIMIT_PER_ORGANISATION, Limit.INVITATIONS, str(org_id))

    async def count_domain_proof(self, method: str, org_id: UUID, domain: str, address: str | None) -> None:
        """Count an attempt of an organisation to prove a domain, by this method.

        Raises:
            TooMany
        """
        await self._limiter.count_or_refuse(DOMAIN_PROOF_LIMIT, Limit.DOMAIN_PROOFS, str(org_id))
        if method == "EMAIL":
            await self._limiter.count_or_refuse(self._settings.mail_limit, *_network_mails(domain, address))
            await self._limiter.count_or_refuse(DOMAIN_MAIL_LIMIT, "domain-mail", str(org_id), domain)
            mailed = (_ONCE_A_DAY, "mailed-domain", str(org_id), domain)
            if not await self._limiter.is_used_up(*mailed):
                await self._limiter.count_or_refuse(MAILED_DOMAINS_LIMIT, "mailed-domains", str(org_id))
                await self._limiter.count(*mailed)
            await self._limiter.count_or_refuse(DOMAIN_MAIL_LIMIT_PER_ORGANISATION, "domain-mails", str(org_id))

    async def count_sign_up_mail(self, org_id: UUID, email: str, address: str | None) -> bool:
        """Count a sign-up with an e-mail address, whether or not an account has it; return whether to send its mail.

        Raises:
            TooMany: the clients of this network have used the address in this organisation too often.
        """
        await self._limiter.count_or_refuse(
            ACCOUNT_MAIL_LIMIT, "mail", "sign-up", str(org_id), _account_key(email, None), get_network(address)
        )
        return await self.count_mail(email, address)

    @asynccontextmanager
    async def counting_email_change(self, user_id: UUID, email: str) -> AsyncIterator[None]:
        """Count a mail to a new address before the block. If the block raises, no mail was sent: refund it.

        Otherwise a client with a stolen token, who does not know the password, could use up the user's changes.

        Raises:
            TooMany
        """
        counted = [
            (EMAIL_CHANGE_LIMIT, "mail", "changes", str(user_id)),
            (ACCOUNT_MAIL_LIMIT, "mail", "change", str(user_id), _account_key(email, None)),
        ]
        async with AsyncExitStack() as refunds:
            for one in counted:
                await self._limiter.count_or_refuse(*one)
                refunds.push_async_callback(self._limiter.refund, *one)
            yield
            refunds.pop_all()

    async def count_mail(self, email: str, address: str | None, *, is_verified: bool = False) -> bool:
        """Count a mail that a client causes to an e-mail address; return whether to send it.

        It counts over all organisations, per network: so strangers cannot keep mails from a user. Mails to an account
        that has not verified the address also count over all networks, so that they cannot flood a mailbox.

        Args:
            is_verified: whether the mail goes to an account that has verified the address.
        """
        counted = [(self._settings.mail_limit, *_network_mails(email, address))]
        if not is_verified:
            counted.append((self._settings.address_mail_limit, "address-mails", _account_key(email, None)))
        try:
            for one in counted:
                await self._limiter.count_or_refuse(*one, announced=False)
        except TooMany:
            return False
        return True

    async def count_account_mail(self, kind: str, user_id: UUID) -> bool:
        """Count a request for a mail of this kind to an account; return whether it is within the limit.

        Counts per account, so that requests in one organisation do not use up the limit in another.
        """
        try:
            await self._limiter.count_or_refuse(ACCOUNT_MAIL_LIMIT, "mail", kind, str(user_id), announced=False)
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


def _code_key(user_id: UUID, session_id: UUID | None) -> str:
    return f"{user_id} {session_id}" if session_id else str(user_id)


def _network_mails(recipient: str, address: str | None) -> tuple[str, ...]:
    return ("network-mails", _account_key(recipient, None), get_network(address))


def _account_key(email: str, domain: str | None) -> str:
    # Hashed: the counts may live in another system, which needs no e-mail addresses.
    return hashlib.sha256(f"{email}\n{domain or ''}".encode()).hexdigest()[:32]

"""Mail single-use links to the accounts of an e-mail address, on the request of a stranger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.access.attempt_limits import Attempts
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import User
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM
from app.organisations import queries as organisations

# The stranger waits while the links are made, and must not learn from the time how many accounts there are.
MAX_ACCOUNTS = 10
# Long enough to make links for `MAX_ACCOUNTS` accounts: the routes round up the duration of their responses to it.
RESPONSE_TIME_STEP = 0.25  # seconds


@dataclass(frozen=True)
class AccountFilter:
    """Which accounts of an e-mail address get a link.

    Attributes:
        domain: The domain of the organisation; `None` for all organisations.
        address: The address of the client who asks for the links.
        is_eligible: Whether a user gets a link.
    """

    email: str
    domain: str | None
    address: str | None
    is_eligible: Callable[[User], bool]


async def send_links(database: Database, attempts: Attempts, accounts: AccountFilter, purpose: LinkPurpose) -> None:
    """Mail a link to each eligible account, unless it has reached the limit of such mails.

    Only the accounts in the `MAX_ACCOUNTS` oldest organisations are considered, each in a transaction of its own.
    """
    async with database.session(None) as db:
        found = await users.list_credentials(db, accounts.email, accounts.domain, limit=MAX_ACCOUNTS)
    for account in found:
        if not await attempts.count_account_mail(purpose, account.user_id):
            continue
        async with database.session(account.org_id) as db:
            try:
                # Locked: a concurrent erasure would otherwise leave the link, and the e-mail address in it, behind.
                user = await users.lock_user(db, account.org_id, account.user_id)
            except UserNotFound:
                continue
            if user.email != accounts.email or not accounts.is_eligible(user):
                continue
            is_verified = user.email_verified_at is not None
            if await attempts.count_mail(accounts.email, accounts.address, is_verified=is_verified):
                at = (await organisations.get_tenant(db, account.org_id)).now()
                links.send(
                    db,
                    account.org_id,
                    user.id,
                    user.email,
                    purpose,
                    at=at,
                    actor=SYSTEM,
                    requested_from=accounts.address,
                )

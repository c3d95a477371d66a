"""The limit of outside addresses that an organisation may send mail to, so that an installation is no spam relay.

It holds for organisations that have not proved their domain, if the operator sets `UNPROVED_MAIL_LIMIT`. It is checked
when a worker claims the mails. A mail beyond it fails, and the notification log says why.

Not counted are the users of the organisation who have verified their address, its first user, and mails that prove the
domain. Other users are counted: an organisation can enter any address as that of an admin.

Anyone can sign up in an organisation, with any address. Mails that verify addresses are therefore sent only while half
of the limit is left: strangers cannot use up what the mails about tickets need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.single_use_links.models import PAGES, LinkPurpose
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.outbox.channels import Channel, ChannelPolicy, Sender
from app.notifications.mails import DOMAIN_PROOF_LINK, OutgoingMail
from app.notifications.models import OutsideRecipient
from app.organisations.models import Organisation

PERIOD = timedelta(hours=24)
# Of links that are mailed to whatever address a stranger enters.
PAGES_FOR_STRANGERS = (PAGES[LinkPurpose.VERIFY_EMAIL], PAGES[LinkPurpose.CHANGE_EMAIL])
LOCK_KIND = 0x6D61696C  # tells this lock from other advisory locks


def limit_recipients(channel: Channel[OutgoingMail], limit: int) -> Channel[OutgoingMail]:
    """Return the channel with a limit of outside addresses in 24 hours; with 0, the channel as it is."""
    return _LimitedChannel(channel, limit) if limit else channel


@dataclass(frozen=True)
class _LimitedChannel:
    channel: Channel[OutgoingMail]
    limit: int

    @property
    def policy(self) -> ChannelPolicy:
        return self.channel.policy

    async def load(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, OutgoingMail]:
        mails = await self.channel.load(db, org_id, ids)
        refused = await refuse_beyond_limit(db, org_id, list(mails.values()), self.limit, real_now())
        return {mail.id: mail for mail in refused}

    async def delete(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
        await self.channel.delete(db, org_id, ids)

    def open(self) -> AbstractAsyncContextManager[Sender[OutgoingMail]]:
        return self.channel.open()


async def refuse_beyond_limit(
    db: AsyncSession, org_id: UUID, mails: Sequence[OutgoingMail], limit: int, now: datetime
) -> list[OutgoingMail]:
    """Set the refusal of those mails that would go to more outside addresses than the limit allows.

    The transaction must take no other lock after this.
    """
    is_proved = select(Organisation.domain_verified_at.is_not(None)).where(Organisation.id == org_id)
    if not mails or await db.scalar(is_proved):
        return list(mails)
    counted = {mail.recipient for mail in mails if mail.link != DOMAIN_PROOF_LINK}
    outside = counted - await _find_own_addresses(db, org_id, counted)
    of_organisation = {mail.recipient for mail in mails if not (mail.link or "").endswith(PAGES_FOR_STRANGERS)}
    allowed = await _reserve(db, org_id, outside & of_organisation, limit, now)
    allowed |= await _reserve(db, org_id, outside - of_organisation, (limit + 1) // 2, now)
    refusal = (
        f"Not sent: an organisation whose domain is not proved may send mail to {limit} outside addresses in 24 hours. "
        "An admin can prove the domain: POST /org/domain/verify."
    )
    return [
        replace(mail, refusal=refusal)
        if mail.link != DOMAIN_PROOF_LINK and mail.recipient in outside - allowed
        else mail
        for mail in mails
    ]


async def _find_own_addresses(db: AsyncSession, org_id: UUID, addresses: set[str]) -> set[str]:
    """Return the verified addresses of users among these, and the address of the first user, who can thus verify it.

    The first user is always the same, so that an organisation cannot exchange them: only invited users are deleted.
    """
    verified = await db.scalars(
        select(User.email).where(
            User.org_id == org_id,
            User.email.in_(addresses),
            User.email_verified_at.is_not(None),
            User.status == AccountStatus.ACTIVE,
        )
    )
    first = await db.scalar(
        select(User.email).where(User.org_id == org_id, User.status != AccountStatus.INVITED).order_by(User.id).limit(1)
    )
    return {email for email in (*verified, first) if email is not None}


async def _reserve(db: AsyncSession, org_id: UUID, addresses: set[str], limit: int, now: datetime) -> set[str]:
    """Count these addresses as recipients of the last 24 hours; return those within the limit."""
    if not addresses:
        return set()
    await delete_expired(db, org_id, now)
    counted = select(OutsideRecipient.address_hash).where(OutsideRecipient.org_id == org_id)
    known = set(await db.scalars(counted))
    hashes = {hash_address(address): address for address in sorted(addresses)}
    new = [one for one in hashes if one not in known][: max(0, limit - len(known))]
    reserved = sorted({*new, *(hashes.keys() & known)})
    if reserved:
        statement = insert(OutsideRecipient).values(
            [{"org_id": org_id, "address_hash": one, "mailed_at": now} for one in reserved]
        )
        await db.execute(
            statement.on_conflict_do_update(
                index_elements=[OutsideRecipient.org_id, OutsideRecipient.address_hash],
                set_={"mailed_at": statement.excluded.mailed_at},
            )
        )
    return {hashes[one] for one in reserved}


async def delete_expired(db: AsyncSession, org_id: UUID, now: datetime) -> int:
    """Delete the addresses that no longer count; return their number.

    Two workers may claim mails of the organisation at once. They are serialised from here until their transactions end.
    """
    key = int.from_bytes(org_id.bytes[12:], signed=True)
    await db.execute(select(func.pg_advisory_xact_lock(LOCK_KIND, key)))
    expired = (OutsideRecipient.org_id == org_id, OutsideRecipient.mailed_at <= now - PERIOD)
    deleted = await db.scalars(delete(OutsideRecipient).where(*expired).returning(OutsideRecipient.org_id))
    return len(deleted.all())


def hash_address(address: str) -> bytes:
    """Compute the SHA-256 of an address, which is stored instead of it."""
    return hashlib.sha256(address.encode()).digest()

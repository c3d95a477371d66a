"""Mails as rows: queue mails for the channel, load them for sending, delete them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from uuid import UUID

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.single_use_links.models import PAGES, LinkPurpose
from app.core.clock import real_now
from app.core.database.lookups import select_by_ids
from app.core.ids import new_id
from app.core.outbox import deliveries
from app.core.outbox.backoff import DELIVERY_BACKOFF
from app.core.outbox.channels import ChannelPolicy
from app.core.outbox.deliveries import NewDelivery
from app.notifications.models import Mail


def get_lane(address: str) -> str:
    """Return the lane of an e-mail address: its domain, so that slow mail servers delay no other domain."""
    return address.rpartition("@")[2].lower()


# The channel replaces the limits by those of its server (`make_email_channel`).
EMAIL = ChannelPolicy(
    name="EMAIL",
    backoff=DELIVERY_BACKOFF,
    max_in_flight=1,
    max_in_flight_per_lane=1,
    get_lane=get_lane,
)


COPIES_PER_BATCH = 1000
# The link in mails to the owner of a domain, who is a stranger.
DOMAIN_PROOF_LINK = PAGES[LinkPurpose.VERIFY_DOMAIN]


@dataclass(frozen=True, kw_only=True)
class MailDraft:
    """A mail to queue.

    Args:
        link: the address of the link in the text; the channel adds the token of `link_id`.
        user_id: the user whose account the mail is written to.
        author_id: the user whom the text names, such as the author of a reply.
        sender_name: the name that the mail comes from; `None` for the name in the settings.
        error: why the mail could not be written. The mail is then stored as failed, and never attempted.
    """

    recipient: str
    subject: str
    text: str = ""
    html: str | None = None
    reply_to: str | None = None
    link: str | None = None
    link_id: UUID | None = None
    ticket_id: UUID | None = None
    user_id: UUID | None = None
    author_id: UUID | None = None
    sender_name: str | None = None
    error: str | None = None
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True)
class OutgoingMail:
    """A mail as the channel sends it. `id` is the id of the delivery, the same at every attempt."""

    org_id: UUID
    id: UUID
    recipient: str
    subject: str
    text: str
    html: str | None
    reply_to: str | None
    link: str | None
    link_id: UUID | None
    created_at: datetime
    ticket_id: UUID | None = None  # the mails about a ticket form a thread
    sender_name: str | None = None
    refusal: str | None = None  # why the mail must not be sent


async def queue(db: AsyncSession, org_id: UUID, drafts: Sequence[MailDraft]) -> None:
    """Queue mails, due at once. Mails about accounts, which are about no ticket, go ahead of those about tickets."""
    if not drafts:
        return
    now = real_now()
    new_deliveries = [
        NewDelivery(id=draft.id, destination=draft.recipient, urgent=draft.ticket_id is None, error=draft.error)
        for draft in drafts
    ]
    await deliveries.queue(db, org_id, EMAIL, new_deliveries, now=now)
    await db.execute(
        insert(Mail),
        [
            {
                "org_id": org_id,
                "id": draft.id,
                "recipient": draft.recipient,
                "subject": draft.subject,
                "body_text": draft.text,
                "body_html": draft.html,
                "sender_name": draft.sender_name,
                "reply_to": draft.reply_to,
                "link": draft.link,
                "link_id": draft.link_id,
                "ticket_id": draft.ticket_id,
                "user_id": draft.user_id,
                "author_id": draft.author_id,
                "created_at": now,
            }
            for draft in drafts
        ],
    )


async def queue_copies(db: AsyncSession, org_id: UUID, draft: MailDraft, recipients: Mapping[UUID, str]) -> None:
    """Queue a copy of a mail for each of these users, in batches.

    Args:
        recipients: the addresses by the ids of the users.
    """
    drafts = (replace(draft, recipient=email, user_id=user_id, id=new_id()) for user_id, email in recipients.items())
    while batch := list(islice(drafts, COPIES_PER_BATCH)):
        await queue(db, org_id, batch)


async def load(db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, OutgoingMail]:
    """Read the mails of these deliveries, by their ids."""
    columns = (
        Mail.org_id, Mail.id, Mail.recipient, Mail.subject, Mail.body_text.label("text"), Mail.body_html.label("html"),
        Mail.reply_to, Mail.link, Mail.link_id, Mail.created_at, Mail.ticket_id, Mail.sender_name,
    )  # fmt: skip
    rows = await db.execute(select_by_ids(Mail, org_id, ids, columns))
    return {row.id: OutgoingMail(**row._asdict()) for row in rows}


async def delete_mails(db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
    """Delete the content of these deliveries."""
    await db.execute(delete(Mail).where(Mail.org_id == org_id, Mail.id.in_(ids)))

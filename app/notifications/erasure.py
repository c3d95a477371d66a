"""Remove erased users and requesters, and users whose invitation was cancelled, from the notification log."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from markupsafe import escape
from sqlalchemy import ColumnElement, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.events import UserErased, UserInvitationCancelled
from app.core.outbox.models import DELIVER, Delivery, DeliveryStatus, Timer
from app.notifications import mails
from app.notifications.mime import to_one_line
from app.notifications.models import Mail
from app.requesters.events import RequesterErased
from app.requesters.queries import select_merged_ids, select_requester_ids
from app.tickets.models import Ticket

MAILS_PER_BATCH = 1000
MAX_BATCHES = 20
ANONYMOUS_NAME = "A team member"
ERASED_ADDRESS = "an erased address"
ERASED_TEXT = "The text of this mail was deleted because the user it named was erased."


async def erase_mails(db: AsyncSession, org_id: UUID, event: UserErased | UserInvitationCancelled) -> None:
    """Delete the mails to an erased user, and the mails to others about the user's tickets.

    It runs in the transaction of the event. Mails to former addresses of the user and queued mails are deleted too.
    An e-mail address that was never verified may belong to another person, and so may its tickets. Mails about tickets
    to such an address are kept. At most `MAILS_PER_BATCH * MAX_BATCHES` mails of each kind are deleted here; the rest
    are deleted when the retention of the log ends.
    """
    await db.flush()  # writes the tickets that other reactions to this event have changed
    own_tickets = _select_ticket_ids(org_id, Ticket.requester_id.in_(select_requester_ids(org_id, event.user_id)))
    mails_about_tickets = select(Mail.id).where(Mail.org_id == org_id, Mail.ticket_id.in_(own_tickets))
    account_mails = select(Mail.id).where(Mail.org_id == org_id, Mail.user_id == event.user_id)
    received_mails = select(Mail.id).where(Mail.org_id == org_id, Mail.recipient == event.email.value)
    if isinstance(event, UserInvitationCancelled) or not event.email_was_verified.value:
        received_mails = received_mails.where(Mail.ticket_id.is_(None))
    await _delete_all(db, org_id, mails_about_tickets)
    await _delete_all(db, org_id, account_mails)
    await _delete_all(db, org_id, received_mails)
    if isinstance(event, UserErased):
        await _remove_name(db, org_id, event)


async def erase_mails_of_requester(db: AsyncSession, org_id: UUID, event: RequesterErased) -> None:
    """Delete the mails about an erased requester's tickets, within the limit of `erase_mails`."""
    own_tickets = _select_ticket_ids(org_id, Ticket.requester_id.in_(select_merged_ids(org_id, event.requester_id)))
    await _delete_all(db, org_id, select(Mail.id).where(Mail.org_id == org_id, Mail.ticket_id.in_(own_tickets)))


def _select_ticket_ids(org_id: UUID, condition: ColumnElement[bool]) -> Select[UUID]:
    return select(Ticket.id).where(Ticket.org_id == org_id, condition)


async def _remove_name(db: AsyncSession, org_id: UUID, event: UserErased) -> None:
    """Remove the user's name and address from mails to others.

    In queued mails they are replaced. The texts of sent mails are deleted, since the ticket has them too.
    """
    author_conditions = (Mail.org_id == org_id, Mail.author_id == event.user_id)
    name, email = to_one_line(event.name.value), event.email.value
    without_email = (
        func.replace(Mail.body_text, email, ERASED_ADDRESS),
        func.replace(Mail.body_html, str(escape(email)), ERASED_ADDRESS),
    )
    anonymous_texts = {
        "body_text": func.replace(without_email[0], name, ANONYMOUS_NAME),
        "body_html": func.replace(without_email[1], str(escape(event.name.value)), ANONYMOUS_NAME),
    }
    for _ in range(MAX_BATCHES):
        ids = (
            await db.scalars(select(Mail.id).where(*author_conditions).order_by(Mail.id).limit(MAILS_PER_BATCH))
        ).all()
        queued_conditions = (
            Delivery.org_id == org_id, Delivery.id.in_(ids), Delivery.status == DeliveryStatus.QUEUED,
        )  # fmt: skip
        queued = (await db.scalars(select(Delivery.id).where(*queued_conditions))).all()
        texts = update(Mail).where(Mail.org_id == org_id)
        await db.execute(texts.where(Mail.id.in_(queued)).values(author_id=None, **anonymous_texts))
        finished_mails = texts.where(Mail.id.in_(set(ids) - set(queued)))
        await db.execute(finished_mails.values(author_id=None, body_text=ERASED_TEXT, body_html=None))
        if len(ids) < MAILS_PER_BATCH:
            return


async def _delete_all(db: AsyncSession, org_id: UUID, mail_ids: Select[UUID]) -> None:
    for _ in range(MAX_BATCHES):
        ids = (await db.scalars(mail_ids.order_by(Mail.id).limit(MAILS_PER_BATCH))).all()
        if ids:
            await _delete(db, org_id, ids)
        if len(ids) < MAILS_PER_BATCH:
            return


async def _delete(db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
    # Timers first: everything locks in the same order.
    timer_conditions = (Timer.org_id == org_id, Timer.kind == DELIVER, Timer.subject_id.in_(ids))
    await db.execute(
        select(Timer.subject_id).where(*timer_conditions).order_by(Timer.subject_id).with_for_update(key_share=True)
    )
    await db.execute(delete(Timer).where(*timer_conditions))
    await mails.delete_mails(db, org_id, ids)
    await db.execute(delete(Delivery).where(Delivery.org_id == org_id, Delivery.id.in_(ids)))

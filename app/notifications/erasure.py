"""The notification log forgets whoever is erased, or was to be invited."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from markupsafe import escape
from sqlalchemy import Select, case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.events import UserErased, UserInvitationCancelled
from app.core.outbox.deliveries import DeliveryStatus
from app.core.outbox.models import DELIVER, Delivery, Timer
from app.notifications.mime import one_line
from app.tickets.models import Ticket

BATCH = 1000
MAX_BATCHES = 20
NOBODY = "Somebody"
FORGOTTEN = "The text of this mail was deleted with whom it named."


async def forget_mails(db: AsyncSession, org_id: UUID, event: UserErased | UserInvitationCancelled) -> None:
    """When somebody is gone, in that transaction: delete what was sent to them, or about their tickets to others.

    To whichever address they had then, and what is about to be sent goes as well. An e-mail that was never verified may
    be somebody else's, and with it the tickets that were answered to it: then the mails about those stay. Of very many
    mails, `BATCH * MAX_BATCHES` of each kind are seen to here and the rest when the log's retention ends.
    """
    await db.flush()  # of their tickets, those too that became theirs by this event
    own = select(Ticket.id).where(Ticket.org_id == org_id, Ticket.requester_id == event.user_id)
    about_them = select(Delivery.id).where(Delivery.org_id == org_id, Delivery.ticket_id.in_(own))
    to_their_account = select(Delivery.id).where(Delivery.org_id == org_id, Delivery.user_id == event.user_id)
    to_them = select(Delivery.id).where(Delivery.org_id == org_id, Delivery.recipient == event.email.value)
    if isinstance(event, UserInvitationCancelled) or not event.email_was_verified.value:
        to_them = to_them.where(Delivery.ticket_id.is_(None))
    await _delete_all(db, org_id, about_them)
    await _delete_all(db, org_id, to_their_account)
    await _delete_all(db, org_id, to_them)
    if isinstance(event, UserErased):
        await _take_name_out(db, org_id, event)


async def _take_name_out(db: AsyncSession, org_id: UUID, event: UserErased) -> None:
    """Of mails that name them to others, let only the log's line stay; what is not sent yet goes out without the name.

    What it said is in the ticket.
    """
    of_them = (Delivery.org_id == org_id, Delivery.author_id == event.user_id)
    waits = Delivery.status == DeliveryStatus.QUEUED
    nameless = func.replace(Delivery.body_text, one_line(event.name.value), NOBODY)
    nameless_html = func.replace(Delivery.body_html, str(escape(event.name.value)), NOBODY)
    for _ in range(MAX_BATCHES):
        ids = (await db.scalars(select(Delivery.id).where(*of_them).order_by(Delivery.id).limit(BATCH))).all()
        await db.execute(
            update(Delivery)
            .where(Delivery.org_id == org_id, Delivery.id.in_(ids))
            .values(
                author_id=None,
                body_text=case((waits, nameless), else_=FORGOTTEN),
                body_html=case((waits, nameless_html), else_=None),
            )
        )
        if len(ids) < BATCH:
            return


async def _delete_all(db: AsyncSession, org_id: UUID, which: Select[UUID]) -> None:
    for _ in range(MAX_BATCHES):
        ids = (await db.scalars(which.order_by(Delivery.id).limit(BATCH))).all()
        if ids:
            await _delete(db, org_id, ids)
        if len(ids) < BATCH:
            return


async def _delete(db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
    # Timers first, as the worker's third loop takes them.
    timers = (Timer.org_id == org_id, Timer.kind == DELIVER, Timer.subject_id.in_(ids))
    await db.execute(select(Timer.subject_id).where(*timers).order_by(Timer.subject_id).with_for_update(key_share=True))
    await db.execute(delete(Timer).where(*timers))
    await db.execute(delete(Delivery).where(Delivery.org_id == org_id, Delivery.id.in_(ids)))

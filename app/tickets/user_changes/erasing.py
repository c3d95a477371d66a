"""Erase the e-mail address of an erased user from the tickets that they requested."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.events import UserErased
from app.accounts.users.rules import erased_email
from app.core.outbox.events import SYSTEM, record
from app.core.outbox.timers import Due
from app.tickets.events import TicketUpdated
from app.tickets.models import Ticket
from app.tickets.user_changes.batches import (
    BatchedChange,
    UserRow,
    read_user,
    resume_batches,
    run_first_batch,
    update_tickets,
)

ERASE_REQUESTER: Final = "ERASE_REQUESTER"  # a timer kind; the subject is the user


def _not_erased_condition(user: UserRow) -> ColumnElement[bool] | None:
    return and_(Ticket.requester_user_id == user.id, Ticket.requester_email != erased_email(user.id))


async def _erase(db: AsyncSession, org_id: UUID, user: UserRow, ids: Sequence[UUID], at: datetime) -> None:
    await update_tickets(
        db,
        org_id,
        ids,
        requester_email=erased_email(user.id),
        requester_user_id=user.id,
        version=Ticket.version + 1,
    )
    # The event says that the requester changed, without the addresses.
    record(db, *(TicketUpdated(at=at, actor=SYSTEM, ticket_id=one, changes={"requester": {}}) for one in ids))


_ERASING = BatchedChange(ERASE_REQUESTER, _not_erased_condition, _erase)


async def erase_requester(db: AsyncSession, org_id: UUID, event: UserErased) -> None:
    """Erase the e-mail address of an erased user from their tickets.

    Tickets that were never linked to the account are found by the e-mail address, if it was verified. These are
    changed in this transaction, even if it has to wait for their locks: later the address is no longer known. Linked
    tickets follow in batches.
    """
    await db.flush()
    if event.email_was_verified.value:
        unlinked_conditions = (
            Ticket.org_id == org_id, Ticket.requester_email == event.email.value, Ticket.requester_user_id.is_(None)
        )  # fmt: skip
        ordered_tickets = select(Ticket.id).where(*unlinked_conditions).order_by(Ticket.id)
        if ids := (await db.scalars(ordered_tickets.with_for_update(key_share=True))).all():
            await _erase(db, org_id, await read_user(db, org_id, event.user_id), ids, event.at)
    await run_first_batch(db, org_id, event.user_id, event.at, _ERASING)


async def resume_erasing(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Erase a batch on the timer `ERASE_REQUESTER`."""
    return await resume_batches(db, org_id, due, _ERASING)

"""Link tickets to the account of their requester, once the user has proved that the e-mail address is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.events import EmailVerified, UserApproved, UserReactivated
from app.accounts.users.rules import is_requesters_account
from app.core.outbox.timers import Due
from app.tickets.models import Ticket
from app.tickets.user_changes.batches import BatchedChange, UserRow, resume_batches, run_first_batch, update_tickets

LINK_TICKETS: Final = "LINK_TICKETS"  # the kind of the timer, on the user


def _unlinked_condition(user: UserRow) -> ColumnElement[bool] | None:
    if not is_requesters_account(user.status, verified=user.is_verified):
        return None
    return and_(Ticket.requester_email == user.email, Ticket.requester_user_id.is_(None))


async def _link(db: AsyncSession, org_id: UUID, user: UserRow, ids: Sequence[UUID], _at: datetime) -> None:
    # For clients this is no change of the ticket: its version and its history stay as they are.
    await update_tickets(db, org_id, ids, requester_user_id=user.id)


_LINKING = BatchedChange(LINK_TICKETS, _unlinked_condition, _link)


async def link_tickets(db: AsyncSession, org_id: UUID, event: EmailVerified | UserApproved | UserReactivated) -> None:
    """Link the tickets with a user's e-mail address once it is verified and the user can sign in."""
    await run_first_batch(db, org_id, event.user_id, event.at, _LINKING)


async def resume_linking(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Link a batch on the timer `LINK_TICKETS`."""
    return await resume_batches(db, org_id, due, _LINKING)

"""Reads and locks of single tickets, and the statement that opens one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, UserCaller
from app.core.outbox.subscriptions import writes
from app.organisations.models import Organisation
from app.organisations.queries import as_tenant
from app.tickets.errors import TicketNotFound
from app.tickets.events import TicketAssigned, TicketCreated
from app.tickets.models import Ticket, TicketPriority
from app.tickets.rows import TicketRow
from app.tickets.statements import OPEN, OPEN_OWN, READ, READ_OWN, created_data

if TYPE_CHECKING:
    from app.core.database.pool import Driver

# Compares the version that the caller has seen with the ticket's; raises `VersionConflict`.
Expectation = Callable[[int], None]


def requester_scope(caller: Caller) -> UUID | None:
    """Return the requester to whose tickets the caller is limited; `None` if the caller can reach all tickets."""
    match caller:
        case UserCaller(user=user) if user.sees_own_only:
            return user.id
        case _:
            return None


async def with_locked_clock(db: AsyncSession, caller: UserCaller) -> UserCaller:
    """Lock a sandbox's clock until the transaction ends; return the caller with the time that it shows.

    Advancing a clock would miss the timers set by another transaction in the meantime. Call this first: advancing locks
    the organisation before its tickets.
    """
    if not caller.tenant.sandbox:
        return caller
    organisation = await db.get_one(Organisation, caller.org_id, with_for_update={"read": True})
    tenant = as_tenant(organisation)
    return replace(caller, tenant=tenant, now=tenant.now())


async def lock_ticket(db: AsyncSession, org_id: UUID, ticket_id: UUID, requester_id: UUID | None = None) -> Ticket:
    """Lock a ticket until the transaction ends, without blocking rows that only refer to it.

    Args:
        requester_id: the requester whose ticket it must be.

    Raises:
        TicketNotFound
    """
    statement = select(Ticket).where(Ticket.org_id == org_id, Ticket.id == ticket_id)
    if requester_id is not None:
        statement = statement.where(Ticket.requester_user_id == requester_id)
    ticket = await db.scalar(statement.with_for_update(key_share=True))
    if ticket is None:
        raise TicketNotFound
    return ticket


async def read_ticket(driver: Driver, org_id: UUID, ticket_id: UUID, requester_id: UUID | None = None) -> TicketRow:
    """Read a ticket with its assignee.

    Args:
        requester_id: the requester whose ticket it must be.

    Raises:
        TicketNotFound
    """
    if requester_id is None:
        row = await driver.fetchrow(READ, org_id, ticket_id)
    else:
        row = await driver.fetchrow(READ_OWN, org_id, ticket_id, requester_id)
    if row is None:
        raise TicketNotFound
    return cast("TicketRow", row)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a new ticket starts with. `now` is the organisation's time, and `real_now` real time.

    The requester is the user `requester_user_id`, with that user's e-mail address, or else `requester_email`.
    """

    org_id: UUID
    id: UUID
    title: str
    description: str
    priority: TicketPriority
    requester_email: str | None
    now: datetime
    real_now: datetime
    created_event: UUID
    assigned_event: UUID
    actor_type: str
    actor_id: UUID | None
    requester_user_id: UUID | None = None


@writes(TicketCreated, TicketAssigned)
async def insert_ticket(driver: Driver, new: Opening) -> TicketRow | None:
    """Number a ticket, choose its assignee, and write it with its events, or with a timer if no user is available.

    Writes nothing and returns `None` if the user `requester_user_id` is not active.
    """
    row = await driver.fetchrow(
        OPEN if new.requester_user_id is None else OPEN_OWN,
        new.org_id,
        new.id,
        new.title,
        new.description,
        new.priority,
        new.requester_email if new.requester_user_id is None else new.requester_user_id,
        new.now,
        new.real_now,
        new.created_event,
        new.assigned_event,
        new.actor_type,
        new.actor_id,
        created_data(new.priority),
    )
    return cast("TicketRow | None", row)

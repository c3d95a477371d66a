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
from app.core.clock import real_now
from app.core.outbox.events import SYSTEM, Actor, Event
from app.core.outbox.numbering import write_numbered
from app.core.outbox.subscriptions import writes
from app.organisations.models import Organisation
from app.organisations.queries import as_tenant, lock_organisation
from app.tickets.errors import TicketNotFound
from app.tickets.events import TicketAssigned, TicketCreated
from app.tickets.models import Ticket, TicketPriority, TicketStatus
from app.tickets.rows import TicketRow
from app.tickets.statements import COUNT, COUNT_OWN, INSERT, READ, READ_OWN, WAIT

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
    await lock_organisation(db, caller.org_id, shared=True)
    tenant = as_tenant(await db.get_one(Organisation, caller.org_id, populate_existing=True))
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
    """What a new ticket starts with. `now` is the organisation's time.

    The requester is the user `requester_user_id`, with that user's e-mail address, or else `requester_email`.
    """

    org_id: UUID
    id: UUID
    title: str
    description: str
    priority: TicketPriority
    requester_email: str | None
    now: datetime
    actor: Actor
    requester_user_id: UUID | None = None


@writes(TicketCreated, TicketAssigned)
async def insert_ticket(driver: Driver, new: Opening) -> TicketRow | None:
    """Number a ticket, choose its assignee, and write it with its events, or with a timer if no user is available.

    Writes nothing and returns `None` if the user `requester_user_id` is not active.
    """
    org_id = new.org_id
    if new.requester_user_id is None:
        counted = await driver.fetchrow(COUNT, org_id, new.requester_email, new.now)
    else:
        counted = await driver.fetchrow(COUNT_OWN, org_id, new.requester_user_id, new.now)
    if counted is None:
        return None
    number, at, assignee_id = counted["number"], counted["at"], counted["assignee_id"]
    await driver.execute(
        INSERT, org_id, new.id, number, new.title, new.description, new.priority, counted["requester_email"],
        counted["requester_user_id"], assignee_id, at,
    )  # fmt: skip
    events: list[Event] = [
        TicketCreated(
            at=at, actor=new.actor, ticket_id=new.id, number=number, status=TicketStatus.OPEN, priority=new.priority
        )
    ]
    if assignee_id is None:
        await driver.execute(WAIT, org_id, new.id, real_now())
    else:
        events.append(
            TicketAssigned(at=at, actor=SYSTEM, ticket_id=new.id, assignee_id=assignee_id, previous_assignee_id=None)
        )
    await write_numbered(driver, org_id, events, last_seq=counted["last_event"])
    return TicketRow(
        id=new.id,
        number=number,
        org_id=org_id,
        title=new.title,
        description=new.description,
        status=TicketStatus.OPEN,
        priority=new.priority,
        requester_email=counted["requester_email"],
        requester_user_id=counted["requester_user_id"],
        assignee_id=assignee_id,
        created_at=at,
        updated_at=at,
        responded_at=None,
        closed_at=None,
        auto_close_at=None,
        accepted_at=None,
        version=1,
        assignee_email=counted["assignee_email"],
        assignee_first_name=counted["assignee_first_name"],
        assignee_last_name=counted["assignee_last_name"],
    )

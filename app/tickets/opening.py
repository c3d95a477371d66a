"""Open a ticket: number it, choose its assignee, and write it with its events.

The statements go to the driver, without SQLAlchemy, because this is the most frequent write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from app.core.clock import real_now
from app.core.outbox.events import SYSTEM, Actor, Event
from app.core.outbox.numbering import write_numbered
from app.core.outbox.subscriptions import writes
from app.tickets.events import TicketAssigned, TicketCreated
from app.tickets.models import TicketPriority, TicketStatus
from app.tickets.rows import TicketRow
from app.tickets.statements import COUNT, COUNT_OWN, INSERT, WAIT

if TYPE_CHECKING:
    from app.core.database.pool import Driver


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The values of a new ticket. `now` is the organisation's time.

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

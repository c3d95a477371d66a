"""Open a ticket: number it, choose its assignee, and write it with its events.

The statements go to the driver, without SQLAlchemy, because this is the most frequent write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from app.core.clock import real_now
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM, Actor, Event
from app.core.outbox.numbering import write_numbered
from app.core.outbox.subscriptions import writes
from app.requesters import matching
from app.requesters.service import RequesterDetails
from app.requesters.statements import CLAIM, LOCK_USER
from app.tickets.events import TicketAssigned, TicketCreated
from app.tickets.models import TicketPriority, TicketStatus
from app.tickets.rows import TicketRow
from app.tickets.statements import COUNT, COUNT_BY_ID, COUNT_NEW, COUNT_OWN, INSERT, INSERT_FIRST, WAIT

if TYPE_CHECKING:
    from asyncpg import Record

    from app.core.database.pool import Driver


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The values of a new ticket. `now` is the organisation's time.

    The requester is the one of the user `requester_user_id`, or else the one with `requester`.
    """

    org_id: UUID
    id: UUID
    title: str
    description: str
    priority: TicketPriority
    requester: RequesterDetails | None
    now: datetime
    actor: Actor
    requester_user_id: UUID | None = None


@writes(TicketCreated, TicketAssigned)
async def insert_ticket(driver: Driver, new: Opening) -> TicketRow | None:
    """Number a ticket, choose its assignee, and write it with its events, or with a timer if no user is available.

    Writes nothing and returns `None` if the user `requester_user_id` is not active.

    Raises:
        ExternalIdTaken: the product's id belongs to one requester and the address to another.
    """
    org_id = new.org_id
    if new.requester_user_id is not None:
        counted = await _count_own(driver, new, new.requester_user_id)
    else:
        assert new.requester is not None
        counted = await _count(driver, new, new.requester)
    if counted is None:
        return None
    at, assignee_id = counted.row["at"], counted.row["assignee_id"]
    row = _build_row(new, counted.row)
    values = (
        org_id, new.id, row["number"], new.title, new.description, new.priority, row["requester_id"], assignee_id, at
    )  # fmt: skip
    if not counted.is_first:
        await driver.execute(INSERT, *values)
    elif linked := await driver.fetchrow(INSERT_FIRST, *values):
        row["requester_name"], row["requester_user_id"] = linked["name"], linked["user_id"]
    created = TicketCreated(
        at=at, actor=new.actor, ticket_id=new.id, number=row["number"], status=TicketStatus.OPEN, priority=new.priority
    )
    events: list[Event] = [created]
    if assignee_id is None:
        await driver.execute(WAIT, org_id, new.id, real_now())
    else:
        events.append(
            TicketAssigned(at=at, actor=SYSTEM, ticket_id=new.id, assignee_id=assignee_id, previous_assignee_id=None)
        )
    await write_numbered(driver, org_id, events, last_seq=counted.row["last_event"])
    return row


def _build_row(new: Opening, counted: Record) -> TicketRow:
    """Return the row of the new ticket, with its requester and its assignee."""
    return TicketRow(
        id=new.id,
        number=counted["number"],
        org_id=new.org_id,
        title=new.title,
        description=new.description,
        status=TicketStatus.OPEN,
        priority=new.priority,
        requester_id=counted["requester_id"],
        requester_email=counted["requester_email"],
        requester_name=counted["requester_name"],
        requester_was_changed=False,
        requester_user_id=counted["requester_user_id"],
        assignee_id=counted["assignee_id"],
        created_at=counted["at"],
        updated_at=counted["at"],
        responded_at=None,
        closed_at=None,
        auto_close_at=None,
        accepted_at=None,
        version=1,
        assignee_email=counted["assignee_email"],
        assignee_first_name=counted["assignee_first_name"],
        assignee_last_name=counted["assignee_last_name"],
    )


@dataclass(frozen=True)
class _Counted:
    """The counter's row for a new ticket, and whether it is the first ticket of its requester."""

    row: Record
    is_first: bool = False


async def _count(driver: Driver, new: Opening, requester: RequesterDetails) -> _Counted:
    """Count a ticket for a requester, who is made if there is none yet.

    A known requester takes one statement, and a new one takes two.
    """
    while True:
        if requester.is_only_email:
            row = await driver.fetchrow(COUNT, new.org_id, requester.email, new.now)
        elif requester_id := await matching.match(driver, new.org_id, requester):
            row = await driver.fetchrow(COUNT_BY_ID, new.org_id, requester_id, new.now)
        else:
            row = None
        if row is not None:
            return _Counted(row)
        if row := await _count_new(driver, new, requester):
            return _Counted(row, is_first=True)
        # Another transaction has made the requester meanwhile.


async def _count_own(driver: Driver, new: Opening, user_id: UUID) -> _Counted | None:
    """Count a ticket for a user's own requester, who is made if there is none yet; `None` if the user is not active."""
    if row := await driver.fetchrow(COUNT_OWN, new.org_id, user_id, new.now):
        return _Counted(row)
    user = await driver.fetchrow(LOCK_USER, new.org_id, user_id)
    if user is None:
        return None
    # The lock has waited for the user's other first tickets.
    if row := await driver.fetchrow(COUNT_OWN, new.org_id, user_id, new.now):
        return _Counted(row)
    requester = RequesterDetails(email=user["email"], name=user["name"])
    if row := await _count_new(driver, new, requester, user_id, owns_email=user["is_verified"]):
        return _Counted(row)
    # The product has made the requester meanwhile.
    await driver.execute(CLAIM, new.org_id, user_id, requester.email)
    if row := await driver.fetchrow(COUNT_OWN, new.org_id, user_id, new.now):
        return _Counted(row)
    row = await _count_new(driver, new, requester, user_id, owns_email=False)
    return _Counted(row) if row else None


async def _count_new(
    driver: Driver, new: Opening, requester: RequesterDetails, user_id: UUID | None = None, *, owns_email: bool = True
) -> Record | None:
    """Make a requester and count their first ticket; `None` if another transaction has made the requester meanwhile."""
    return await driver.fetchrow(
        COUNT_NEW, new.org_id, requester.email, new.now, new_id(), owns_email, requester.name, requester.locale,
        requester.external_id, user_id, real_now(),
    )  # fmt: skip

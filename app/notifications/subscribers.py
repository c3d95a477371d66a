"""Who is told what by mail. Each takes a batch of events and queues one delivery per mail.

A mail is written when it is queued, so that the log shows what was said. One that cannot be written is queued as
failed, and holds up no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Row, Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import deliveries
from app.core.deliveries import Draft
from app.core.events import StoredEvent
from app.identity.people.models import Person
from app.notifications.render import render
from app.organisations.queries import tenant
from app.organisations.tenant import Tenant
from app.tickets.models import Ticket, TicketResponse

EMAIL = "EMAIL"
ERROR_LENGTH = 300

log = structlog.get_logger("tessera.notifications")


async def mail_answer_to_requester(db: AsyncSession, org_id: UUID, events: Sequence[StoredEvent]) -> None:
    """On `ticket.responded`."""
    organisation = await tenant(db, org_id)
    response_ids = [UUID(event.data["responseId"]) for event in events]
    rows = await db.execute(
        select(TicketResponse, Ticket, Person)
        .join(Ticket, and_(Ticket.org_id == org_id, Ticket.id == TicketResponse.ticket_id))
        .join(Person, and_(Person.org_id == org_id, Person.id == TicketResponse.author_id))
        .where(TicketResponse.org_id == org_id, TicketResponse.id.in_(response_ids))
        .order_by(TicketResponse.id)
    )
    drafts = [
        _draft(
            organisation,
            "ticket_answered",
            ticket,
            ticket.added_by,
            message=response.message,
            author=f"{author.first_name} {author.last_name}",
            auto_close_at=ticket.auto_close_at,
        )
        for response, ticket, author in rows
    ]
    await deliveries.queue(db, org_id, drafts)


async def mail_new_assignee(db: AsyncSession, org_id: UUID, events: Sequence[StoredEvent]) -> None:
    """On `ticket.assigned`, unless it is nobody's now."""
    organisation = await tenant(db, org_id)
    given = [(event.ticket_id, UUID(event.data["adminId"])) for event in events if event.data["adminId"]]
    tickets = await _by_id(db, select(Ticket).where(Ticket.org_id == org_id), Ticket.id, (t for t, _ in given))
    people = await _by_id(db, select(Person).where(Person.org_id == org_id), Person.id, (p for _, p in given))
    drafts = [
        _draft(
            organisation,
            "ticket_assigned",
            tickets[ticket_id],
            people[person_id].email,
            description=tickets[ticket_id].description,
            priority=tickets[ticket_id].priority,
            requester=tickets[ticket_id].added_by,
            first_name=people[person_id].first_name,
        )
        for ticket_id, person_id in given
        if ticket_id in tickets and person_id in people
    ]
    await deliveries.queue(db, org_id, drafts)


async def remind_requester(db: AsyncSession, org_id: UUID, events: Sequence[StoredEvent]) -> None:
    """On `ticket.closing_soon`."""
    organisation = await tenant(db, org_id)
    tickets = await _by_id(
        db, select(Ticket).where(Ticket.org_id == org_id), Ticket.id, (event.ticket_id for event in events)
    )
    drafts = [
        _draft(
            organisation,
            "ticket_closing_soon",
            tickets[event.ticket_id],
            tickets[event.ticket_id].added_by,
            auto_close_at=datetime.fromisoformat(event.data["autoCloseAt"]),
        )
        for event in events
        if event.ticket_id in tickets
    ]
    await deliveries.queue(db, org_id, drafts)


async def _by_id(
    db: AsyncSession, statement: Select[Any], column: Any, ids: Iterable[UUID | None]
) -> dict[UUID | None, Any]:
    rows: Sequence[Row[Any]] = (await db.execute(statement.where(column.in_(set(ids))))).all()
    return {row[0].id: row[0] for row in rows}


def _local(organisation: Tenant, context: Mapping[str, Any]) -> dict[str, Any]:
    """The context with its times in the organisation's time zone."""
    zone = ZoneInfo(organisation.timezone)
    return {name: value.astimezone(zone) if isinstance(value, datetime) else value for name, value in context.items()}


def _draft(organisation: Tenant, template: str, ticket: Ticket, recipient: str, **context: Any) -> Draft:
    """The mail about a ticket; should it not be possible to write it, a failed one that says why."""
    about = {
        "organisation": organisation.name,
        "support_email": organisation.support_email,
        "reference": organisation.reference(ticket.number),
        "title": ticket.title,
    }
    shared: dict[str, Any] = {
        "channel": EMAIL,
        "recipient": recipient,
        "ticket_id": ticket.id,
        "reply_to": organisation.support_email,
    }
    try:
        mail = render(template, about | _local(organisation, context))
    except Exception as error:
        log.exception("mail_not_rendered", template=template, org_id=str(organisation.id))
        reason = f"The mail could not be written: {type(error).__name__}: {error}"[:ERROR_LENGTH]
        return Draft(**shared, subject=f"{about['reference']}: {ticket.title}", error=reason)
    return Draft(**shared, subject=mail.subject, text=mail.text, html=mail.html)

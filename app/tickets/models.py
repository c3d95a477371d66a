"""A ticket and the answers to it. The ticket guards its own state: every change of status goes through `move_to`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base, TextEnum, one_of
from app.core.outbox.models import DatedRow


class TicketStatus(StrEnum):
    """Where a ticket stands."""

    OPEN = "OPEN"
    IN_PROGRESS = "IN_PROGRESS"
    RESPONDED = "RESPONDED"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"


class TicketPriority(StrEnum):
    """How much it matters."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


# Somebody has to act on it.
UNFINISHED = (TicketStatus.OPEN, TicketStatus.IN_PROGRESS, TicketStatus.RESPONDED)
# Without an assignee it waits for one meanwhile.
WAITING = "admin_id IS NULL AND status IN ('OPEN', 'IN_PROGRESS', 'RESPONDED')"


class Ticket(DatedRow, Base):
    """What a requester asks for. Times are the organisation's. `version` counts the changes.

    `requester_id` is the requester's account, if they have one and it is sure to be theirs. `accepted_at` is when the
    assignee took it on.
    """

    __tablename__ = "tickets"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int]
    title: Mapped[str]
    description: Mapped[str]
    status: Mapped[TicketStatus] = mapped_column(TextEnum(TicketStatus))
    priority: Mapped[TicketPriority] = mapped_column(TextEnum(TicketPriority))
    added_by: Mapped[str]
    requester_id: Mapped[UUID | None]
    admin_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    responded_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    auto_close_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))

    __table_args__ = (
        UniqueConstraint("org_id", "number"),
        ForeignKeyConstraint(["org_id", "admin_id"], ["users.org_id", "users.id"]),
        ForeignKeyConstraint(["org_id", "requester_id"], ["users.org_id", "users.id"]),
        one_of("status", tuple(TicketStatus)),
        one_of("priority", tuple(TicketPriority)),
        # One per filter, each ending in the order of the list.
        Index("ix_tickets_org_id_created_at_number", "org_id", "created_at", "number"),
        Index("ix_tickets_org_id_updated_at_number", "org_id", "updated_at", "number"),
        Index("ix_tickets_org_id_status_created_at_number", "org_id", "status", "created_at", "number"),
        Index("ix_tickets_org_id_priority_created_at_number", "org_id", "priority", "created_at", "number"),
        Index("ix_tickets_org_id_added_by_created_at_number", "org_id", "added_by", "created_at", "number"),
        Index("ix_tickets_org_id_admin_id_created_at_number", "org_id", "admin_id", "created_at", "number"),
        # Most requesters have no account: what is not there costs nothing to write.
        Index(
            "ix_tickets_org_id_requester_id_created_at_number",
            "org_id",
            "requester_id",
            "created_at",
            "number",
            postgresql_where=text("requester_id IS NOT NULL"),
        ),
        Index("ix_tickets_waiting", "org_id", "number", postgresql_where=text(WAITING)),
    )

    @property
    def is_waiting(self) -> bool:
        """Whether somebody has to act on it and nobody is to: `WAITING` of this row."""
        return self.admin_id is None and self.status in UNFINISHED

    def give_to(self, admin_id: UUID | None) -> None:
        """Let somebody (or nobody) be the assignee; whether they take it on is theirs to say."""
        self.admin_id = admin_id
        self.accepted_at = None

    def move_to(self, status: TicketStatus, now: datetime, auto_close_at: datetime) -> None:
        """Change the status with all that belongs to it; answering again starts the countdown anew.

        Args:
            auto_close_at: when it closes by itself, should the status be `RESPONDED`.
        """
        self.status = status
        self.auto_close_at = auto_close_at if status is TicketStatus.RESPONDED else None
        if status is TicketStatus.RESPONDED:
            self.responded_at = now
        self.closed_at = now if status is TicketStatus.CLOSED else None

    def touch(self) -> None:
        """Note that this row is about to change. Its `updated_at` will be the time of the event: see `dates.py`."""
        self.version += 1


class TicketResponse(DatedRow, Base):
    """An answer to the requester, by a user of the organisation."""

    __tablename__ = "ticket_responses"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[UUID]
    author_id: Mapped[UUID]
    message: Mapped[str]
    created_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "ticket_id"], ["tickets.org_id", "tickets.id"]),
        ForeignKeyConstraint(["org_id", "author_id"], ["users.org_id", "users.id"]),
        Index("ix_ticket_responses_org_id_ticket_id_id", "org_id", "ticket_id", "id"),
    )

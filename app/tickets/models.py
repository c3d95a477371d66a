"""A ticket. The row guards its own state: `move_to` changes its status, and `assign` its assignee."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base, TextEnum, one_of
from app.core.outbox.models import DatedRow


class TicketStatus(StrEnum):
    """The state of the work on a ticket."""

    OPEN = "OPEN"
    IN_PROGRESS = "IN_PROGRESS"
    RESPONDED = "RESPONDED"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"


class TicketPriority(StrEnum):
    """How urgent a ticket is."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


# Work remains to be done. Such a ticket waits if it has no assignee, and changes its assignee if that user leaves.
UNFINISHED = (TicketStatus.OPEN, TicketStatus.IN_PROGRESS, TicketStatus.RESPONDED)
# `Ticket.is_waiting` as a condition. The index uses it, so queries must use the same text.
WAITING = "assignee_id IS NULL AND status IN ({})".format(", ".join(f"'{status}'" for status in UNFINISHED))


class Ticket(DatedRow, Base):
    """What a requester asks for. Times are the organisation's. `version` counts the changes.

    `accepted_at` is when the assignee accepted the ticket.
    """

    __tablename__ = "tickets"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int]
    title: Mapped[str]
    description: Mapped[str]
    status: Mapped[TicketStatus] = mapped_column(TextEnum(TicketStatus))
    priority: Mapped[TicketPriority] = mapped_column(TextEnum(TicketPriority))
    requester_id: Mapped[UUID]
    assignee_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    responded_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    auto_close_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))

    __table_args__ = (
        UniqueConstraint("org_id", "number"),
        ForeignKeyConstraint(["org_id", "assignee_id"], ["users.org_id", "users.id"]),
        ForeignKeyConstraint(["org_id", "requester_id"], ["requesters.org_id", "requesters.id"]),
        one_of("status", tuple(TicketStatus)),
        one_of("priority", tuple(TicketPriority)),
        # One for each column that a list is filtered by (`lists/filters.py`), ending in the order of the list.
        Index("ix_tickets_org_id_created_at_number", "org_id", "created_at", "number"),
        Index("ix_tickets_org_id_updated_at_number", "org_id", "updated_at", "number"),
        Index("ix_tickets_org_id_status_created_at_number", "org_id", "status", "created_at", "number"),
        Index("ix_tickets_org_id_priority_created_at_number", "org_id", "priority", "created_at", "number"),
        Index("ix_tickets_org_id_requester_id_created_at_number", "org_id", "requester_id", "created_at", "number"),
        Index("ix_tickets_org_id_assignee_id_created_at_number", "org_id", "assignee_id", "created_at", "number"),
        # Partial: most tickets are not closed when they are written.
        Index(
            "ix_tickets_org_id_closed_at_number",
            "org_id",
            "closed_at",
            "number",
            postgresql_where=text("closed_at IS NOT NULL"),
        ),
        Index("ix_tickets_waiting", "org_id", "number", postgresql_where=text(WAITING)),
    )

    @property
    def is_waiting(self) -> bool:
        """Whether the ticket waits for an assignee: `WAITING` for this row."""
        return self.assignee_id is None and self.status in UNFINISHED

    @property
    def permits_replies(self) -> bool:
        """Whether the status permits a reply."""
        return self.status != TicketStatus.CLOSED

    @property
    def permits_accepting(self) -> bool:
        """Whether the status permits accepting the ticket."""
        return self.status in UNFINISHED

    def assign(self, assignee_id: UUID | None) -> None:
        """Replace or remove the assignee. A new assignee has not accepted the ticket yet."""
        self.assignee_id = assignee_id
        self.accepted_at = None

    def move_to(self, status: TicketStatus, now: datetime, auto_close_at: datetime) -> None:
        """Set the status with the times that belong to it. `RESPONDED` again restarts the countdown to auto-close.

        Args:
            auto_close_at: when the ticket will close automatically if the status is `RESPONDED`.
        """
        self.status = status
        self.auto_close_at = auto_close_at if status is TicketStatus.RESPONDED else None
        if status is TicketStatus.RESPONDED:
            self.responded_at = now
        self.closed_at = now if status is TicketStatus.CLOSED else None

    def count_change(self) -> None:
        """Count a change of this row. Its `updated_at` becomes the time of the event: see `dates.py`."""
        self.version += 1

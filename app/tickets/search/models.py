"""What tickets are found by."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class TicketSearch(Base):
    """The words of a ticket, and of the answers to it, each with its organisation's prefix (`rules.py`).

    Without row level security, under which no full-text index is used: it is read in `queries.py` only, and always
    together with the ticket. `version` is the ticket's, as it was when its own words were taken.
    """

    __tablename__ = "ticket_search"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    lexemes: Mapped[str] = mapped_column(TSVECTOR)
    answers: Mapped[str] = mapped_column(TSVECTOR)

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "ticket_id"], ["tickets.org_id", "tickets.id"]),
        Index("ix_ticket_search_lexemes_answers", text("(lexemes || answers)"), postgresql_using="gin"),
    )

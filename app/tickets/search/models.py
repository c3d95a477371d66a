"""The full-text index of tickets."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import UNPROTECTED_TENANT_TABLE, Base


class TicketSearch(Base):
    """The lexemes of a ticket and of the replies to it, each with the organisation's prefix (see `rules.py`).

    The table has no row level security, since PostgreSQL uses no full-text index under it. It is only read in
    `queries.py`, and always joined with the ticket. `version` is the ticket's version when `lexemes` was written.

    The primary key starts with the ticket: with the organisation first, the planner would read the organisation's part
    of it for every search by words.
    """

    __tablename__ = "ticket_search"

    org_id: Mapped[UUID]
    ticket_id: Mapped[UUID]
    version: Mapped[int]
    lexemes: Mapped[str] = mapped_column(TSVECTOR)
    replies: Mapped[str] = mapped_column(TSVECTOR)

    __table_args__ = (
        PrimaryKeyConstraint("ticket_id", "org_id"),
        ForeignKeyConstraint(["org_id", "ticket_id"], ["tickets.org_id", "tickets.id"]),
        Index("ix_ticket_search_lexemes_replies", text("(lexemes || replies)"), postgresql_using="gin"),
        UNPROTECTED_TENANT_TABLE,
    )

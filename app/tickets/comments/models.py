"""Comments on tickets."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base
from app.core.outbox.models import DatedRow


class Comment(DatedRow, Base):
    """A public message on a ticket: the reply of an admin or engineer to the requester."""

    __tablename__ = "comments"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[UUID]
    author_id: Mapped[UUID]
    message: Mapped[str]
    created_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "ticket_id"], ["tickets.org_id", "tickets.id"]),
        ForeignKeyConstraint(["org_id", "author_id"], ["users.org_id", "users.id"]),
        Index("ix_comments_org_id_ticket_id_id", "org_id", "ticket_id", "id"),
    )

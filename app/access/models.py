"""The record of changed credentials, which every web process reads."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import LOCAL_TABLE, Base


class CredentialChange(Base):
    """A change of what the credentials of a user, or of an organisation and all its users, allow.

    It has ids and times only, because every process reads the changes of all organisations. `transaction_id` is the
    transaction that made the change.
    """

    __tablename__ = "credential_changes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(server_default=text("(pg_current_xact_id())::text::bigint"))
    org_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))

    __table_args__ = (Index("ix_credential_changes_transaction_id", "transaction_id"), LOCAL_TABLE)

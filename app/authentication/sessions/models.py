"""The sessions of signed-in users."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, ForeignKeyConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class Session(Base):
    """A session, which starts with a sign-in. Only hashes of its refresh tokens are stored.

    Attributes:
        refresh_hash: The hash of the token to be used next.
        previous_hash: The hash of the token that was used at `rotated_at`.
        remembered: Whether the session lasts for 30 days after its last use instead of one.
        reauthenticated_at: When the user proved in this session again who they are; `None` if only at the sign-in.
    """

    __tablename__ = "sessions"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    refresh_hash: Mapped[bytes] = mapped_column(LargeBinary)
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    rotated_at: Mapped[datetime | None]
    remembered: Mapped[bool]
    device: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    reauthenticated_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),
        Index("ix_sessions_org_id_user_id", "org_id", "user_id"),
        Index("ix_sessions_org_id_expires_at", "org_id", "expires_at"),
    )

    @classmethod
    def not_expired_condition(cls, now: datetime) -> ColumnElement[bool]:
        """Return the condition that a session has not expired (real time)."""
        return cls.expires_at > now

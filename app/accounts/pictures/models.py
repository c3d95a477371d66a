"""Pictures of users."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class Picture(Base):
    """A user's picture, as WebP. `users.picture_at` has the time when it was set."""

    __tablename__ = "pictures"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    image: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),)

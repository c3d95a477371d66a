"""What proves a user besides the password."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class SecondFactor(Base):
    """The secret that an authenticator app shares with us, encrypted. `last_step` is of the last code that was used."""

    __tablename__ = "second_factors"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]

    __table_args__ = (ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),)


class RecoveryCode(Base):
    """A code that does for a lost authenticator, once; as its hash."""

    __tablename__ = "recovery_codes"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)

    __table_args__ = (ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),)

"""Second factors and recovery codes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class SecondFactor(Base):
    """The encrypted secret of a user's authenticator app.

    Attributes:
        last_step: The time step of the last code that was used.
        confirmed_at: When the user confirmed the authenticator with a code. Until then, sign-ins require no code.
    """

    __tablename__ = "second_factors"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]

    __table_args__ = (ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),)


class RecoveryCode(Base):
    """The hash of a code that replaces a code of the authenticator once."""

    __tablename__ = "recovery_codes"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)

    __table_args__ = (ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),)

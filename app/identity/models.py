"""People, and what they sign in with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, one_of

ADMIN = "ADMIN"
ACTIVE = "ACTIVE"


class Person(Base):
    """Somebody of an organisation. `available` says whether new tickets may go to them."""

    __tablename__ = "people"

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    first_name: Mapped[str]
    last_name: Mapped[str]
    email: Mapped[str]
    role: Mapped[str]
    status: Mapped[str]
    available: Mapped[bool]
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("org_id", "email"),
        one_of("role", (ADMIN,)),
        one_of("status", (ACTIVE, "SUSPENDED")),
        # The rotation walks this one, in its fixed order.
        Index(
            "ix_people_available_admins",
            "org_id",
            "id",
            postgresql_where=text("role = 'ADMIN' AND status = 'ACTIVE' AND available"),
        ),
    )

    @property
    def is_active_admin(self) -> bool:
        """Whether tickets may be theirs."""
        return self.role == ADMIN and self.status == ACTIVE


class Credential(Base):
    """What is needed to sign in, found by e-mail before the organisation is known: a directory table."""

    __tablename__ = "credentials"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    password_hash: Mapped[str]

    __table_args__ = (
        UniqueConstraint("org_id", "email"),
        Index("ix_credentials_email", "email"),
    )

"""Links between users and their accounts at OpenID Connect providers."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class ExternalIdentity(Base):
    """A user's account at an OpenID Connect provider. `subject` is its `sub` claim, which never changes."""

    __tablename__ = "external_identities"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    created_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),
        Index("ix_external_identities_org_id_user_id", "org_id", "user_id"),
    )

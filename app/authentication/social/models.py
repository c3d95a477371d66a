"""Links between users and their accounts at OpenID Connect providers, and the sign-ins that were finished there."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary
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


class UsedSocialState(Base):
    """The state of a social sign-in whose callback has come, as a hash: another callback with it is refused.

    The nonce is sealed into the same cookie, so it counts once too. After `expires_at` the cookie is refused anyway.
    """

    __tablename__ = "used_social_states"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    state_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[datetime]

    __table_args__ = (Index("ix_used_social_states_org_id_expires_at", "org_id", "expires_at"),)

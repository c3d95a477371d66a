"""The custom roles of organisations. Built-in roles are in `rules.py`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.access.user_permissions import RoleKind
from app.accounts.roles.rules import BuiltInRole
from app.core.database.base import Base, TextEnum, one_of


class Role(Base):
    """A custom role: a name for a set of permissions such as `tickets:view`. `kind` is the role kind of its users."""

    __tablename__ = "roles"

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[RoleKind] = mapped_column(TextEnum(RoleKind))
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("org_id", "name"), one_of("kind", tuple(RoleKind)))


AnyRole = BuiltInRole | Role

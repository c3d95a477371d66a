"""The menus that an organisation's front end shows."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class MenuEntry(Base):
    """A menu entry. Users who may view its `resource` see it, unless it is hidden for them or their role."""

    __tablename__ = "menus"

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    parent_id: Mapped[UUID | None]
    name: Mapped[str]
    url: Mapped[str | None]
    icon: Mapped[str | None]
    position: Mapped[int]
    resource: Mapped[str | None]
    create_url: Mapped[str | None]
    list_url: Mapped[str | None]
    hidden_for_roles: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), default=list, server_default=text("'{}'"))
    hidden_for_users: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), default=list, server_default=text("'{}'"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "parent_id"], ["menus.org_id", "menus.id"]),
        Index("ix_menus_org_id_parent_id", "org_id", "parent_id"),
    )

"""People's pictures."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class Picture(Base):
    """A person's picture, as WebP; when it was set is in `people.picture_at`."""

    __tablename__ = "pictures"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(primary_key=True)
    image: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (ForeignKeyConstraint(["org_id", "person_id"], ["people.org_id", "people.id"]),)

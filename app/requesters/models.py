"""Requesters, and their search words: the words of name and e-mail address that a search finds."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class Requester(Base):
    """A person that tickets are opened for. Tickets refer to the row, so its name and address are in one place.

    `user_id` is the requester's account: set as soon as an account has proved that the e-mail address is its own. All
    rows of an account carry the account's address. `owns_email` is whether the row is found by its address, which is
    true of one row for each address. It is false of the requester of an account that has not proved its address, and
    of further rows of an account that took the address of another requester. `external_id` is the product's own id of
    the person. An erased row keeps its id, and its address is a placeholder.
    `was_changed` is whether what tickets show of it has changed since its first ticket: their versions do not count it.

    A row with `merged_into_id` was merged into that requester, and shows its details. Or it is an alias: it leads from
    the former address and product's id of a merged requester to that one. The aliases with an address own it.
    """

    __tablename__ = "requesters"

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    owns_email: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    name: Mapped[str | None]
    locale: Mapped[str | None]
    external_id: Mapped[str | None]
    user_id: Mapped[UUID | None]
    merged_into_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    erased_at: Mapped[datetime | None]
    was_changed: Mapped[bool] = mapped_column(default=False, server_default=text("false"))

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),
        ForeignKeyConstraint(["org_id", "merged_into_id"], ["requesters.org_id", "requesters.id"]),
        # Partial, so that PostgreSQL does not treat `email` and `external_id` as key columns: see `User`.
        Index("ix_requesters_org_id_email", "org_id", "email", unique=True, postgresql_where=text("owns_email")),
        Index(
            "ix_requesters_org_id_external_id", "org_id", "external_id", unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        Index("ix_requesters_org_id_user_id", "org_id", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        Index(
            "ix_requesters_org_id_merged_into_id", "org_id", "merged_into_id",
            postgresql_where=text("merged_into_id IS NOT NULL"),
        ),
    )  # fmt: skip


class RequesterWord(Base):
    """A normalised word of a requester's name or e-mail address. A search for its first letters finds the requester."""

    __tablename__ = "requester_words"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    requester_id: Mapped[UUID] = mapped_column(primary_key=True)

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "requester_id"], ["requesters.org_id", "requesters.id"]),
        Index("ix_requester_words_org_id_requester_id", "org_id", "requester_id"),
    )

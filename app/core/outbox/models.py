"""The rows that every domain relies on: what happened, what will happen, what leaves the house.

`TENANT_TABLES_WITHOUT_RLS` names the ones that the worker reads across organisations: they hold ids, kinds, numbers and
times only. The other is `ticket_search`: row level security lets no full-text index be used.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Index,
    SmallInteger,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base, one_of

DELIVER = "DELIVER"


class DatedRow:
    """A row that takes the time of its event, and so is written under the counter's lock (`numbering.py`).

    Whoever changes it, or adds it, must have locked it before, and every row that it refers to.
    """


class Counter(Base):
    """One narrow row per organisation: the last number of a row, that of an event, and the time of the last commit.

    Rows of one kind are numbered: tickets. The time is the organisation's.
    """

    __tablename__ = "counters"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_number: Mapped[int] = mapped_column(server_default=text("0"))
    last_event: Mapped[int] = mapped_column(server_default=text("0"))
    last_at: Mapped[datetime] = mapped_column(server_default=text("'epoch'"))


class EventRow(Base):
    """An event, numbered 1, 2, 3… in its organisation, in commit order; its time is never before an earlier one's.

    `subject_id` is the row that it is about: a ticket's history is the events with its id. `version` is that of the
    event's class, and so of `data`.
    """

    __tablename__ = "events"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[UUID]
    type: Mapped[str]
    version: Mapped[int] = mapped_column(SmallInteger)
    subject_id: Mapped[UUID | None]
    actor_type: Mapped[str]
    actor_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]

    __table_args__ = (
        one_of("actor_type", ("USER", "ORGANISATION", "SYSTEM")),
        Index("ix_events_org_id_subject_id_seq", "org_id", "subject_id", "seq"),
    )


class Timer(Base):
    """Something that will happen to `subject_id` at `due_at` (real time). At most one of a kind per subject."""

    __tablename__ = "timers"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))

    __table_args__ = (
        # Two loops look for due work, each through its own index, in the order in which they do it.
        Index("ix_timers_due", "org_id", "due_at", "kind", "subject_id", postgresql_where=text(f"kind <> '{DELIVER}'")),
        Index("ix_timers_deliver", "org_id", "due_at", postgresql_where=text(f"kind = '{DELIVER}'")),
    )


class Relay(Base):
    """How far the subscribers have come in an organisation's events."""

    __tablename__ = "relays"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))


class RelayFailure(Base):
    """An event that a subscriber failed on: tried again by a timer on `id`, parked once it has failed too often."""

    __tablename__ = "relay_failures"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int]
    subscriber: Mapped[str]
    attempts: Mapped[int]
    last_error: Mapped[str]
    created_at: Mapped[datetime]
    parked_at: Mapped[datetime | None]


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    FAILED = "FAILED"


class Delivery(Base):
    """One outgoing message: its channel and lane, its attempts and its outcome. Times are real.

    The content is a row with the same id in the channel's own table.

    Every index but the primary key is partial, also where its condition is true of all rows: the planner then uses it
    for queries by channel, and never for a lookup by id, however old its statistics are.
    """

    __tablename__ = "deliveries"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    channel: Mapped[str]
    lane: Mapped[str]
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("status", tuple(DeliveryStatus)),
        Index(
            "ix_deliveries_of_channel", "org_id", "channel", "created_at", "id",
            postgresql_where=text("channel IS NOT NULL"),
        ),
        Index(
            "ix_deliveries_of_channel_by_status", "org_id", "channel", "status", "created_at", "id",
            postgresql_where=text("channel IS NOT NULL"),
        ),
    )  # fmt: skip

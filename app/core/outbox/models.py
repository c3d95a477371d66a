"""The rows of the outbox: events (what happened), timers (what will happen) and deliveries (what is sent).

The worker reads `counters`, `relays` and `timers` across organisations. They hold only ids, kinds, numbers and times,
and are exempt from row level security (`UNPROTECTED_TENANT_TABLE`).
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

from app.core.database.base import UNPROTECTED_TENANT_TABLE, Base, TextEnum, one_of
from app.core.outbox.events import ActorType

DELIVER = "DELIVER"
# Conditions on timers. Indexes have them, so queries must use the same text.
IS_DELIVERY = f"kind = '{DELIVER}'"
IS_URGENT_DELIVERY = f"{IS_DELIVERY} AND urgent"
IS_NOT_DELIVERY = f"kind <> '{DELIVER}'"


class DatedRow:
    """A row that receives the time of its event, and is therefore written under the counter's lock (`numbering.py`).

    A transaction that adds or changes the row must lock it, and every row that it refers to, before it locks the
    counter.
    """


class Counter(Base):
    """One narrow row per organisation, locked by each transaction that records events or numbers rows.

    Attributes:
        last_number: the number of the newest row that was numbered for users to see. One domain uses it.
        last_event: the `seq` of the newest event.
        last_at: the time of the last commit, on the organisation's clock.
    """

    __tablename__ = "counters"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_number: Mapped[int] = mapped_column(server_default=text("0"))
    last_event: Mapped[int] = mapped_column(server_default=text("0"))
    last_at: Mapped[datetime] = mapped_column(server_default=text("'epoch'"))

    __table_args__ = UNPROTECTED_TENANT_TABLE


class EventRow(Base):
    """An event, numbered 1, 2, 3… in its organisation, in commit order. Times never decrease in this order.

    `subject_id` is the row that the event is about: its history consists of the events with its id. `version` is
    the version of the event's class, and therefore of `data`.
    """

    __tablename__ = "events"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[UUID]
    type: Mapped[str]
    version: Mapped[int] = mapped_column(SmallInteger)
    subject_id: Mapped[UUID | None]
    actor_type: Mapped[ActorType] = mapped_column(TextEnum(ActorType))
    actor_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]

    __table_args__ = (
        one_of("actor_type", tuple(ActorType)),
        Index("ix_events_org_id_subject_id_seq", "org_id", "subject_id", "seq"),
    )


class Timer(Base):
    """Something that will happen to `subject_id` at `due_at` (real time). At most one of a kind per subject.

    Attributes:
        lane: of a delivery, a number made from its lane (`number_lane`), which does not reveal the destination. `NULL`
            if an earlier version of the code queued it.
        urgent: whether the delivery goes ahead of the others.
    """

    __tablename__ = "timers"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    lane: Mapped[int | None]
    urgent: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (
        # Two jobs of the worker look for due timers, each through its own index, in the order of processing.
        Index("ix_timers_due", "org_id", "due_at", "kind", "subject_id", postgresql_where=text(IS_NOT_DELIVERY)),
        Index("ix_timers_deliver", "org_id", "due_at", postgresql_where=text(IS_DELIVERY)),
        Index("ix_timers_deliver_urgent", "org_id", "due_at", postgresql_where=text(IS_URGENT_DELIVERY)),
        UNPROTECTED_TENANT_TABLE,
    )


class Relay(Base):
    """The number of the last event of an organisation that was relayed to the subscribers."""

    __tablename__ = "relays"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))

    __table_args__ = UNPROTECTED_TENANT_TABLE


class RelayFailure(Base):
    """An event that a subscriber failed to handle. A timer on `id` retries it. It is parked in the end."""

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
    """The status of a delivery."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    FAILED = "FAILED"


class Delivery(Base):
    """One outgoing message: its channel and lane, its attempts and its outcome. Times are real.

    The content is a row with the same id in the channel's own table.

    Every index except the primary key is partial, even if its condition is true of all rows. The planner then uses it
    for queries by channel and never for a lookup by id, however old its statistics are.
    """

    __tablename__ = "deliveries"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    channel: Mapped[str]
    lane: Mapped[str]
    status: Mapped[DeliveryStatus] = mapped_column(TextEnum(DeliveryStatus))
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

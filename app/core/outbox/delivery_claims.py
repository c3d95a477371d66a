"""Claim due deliveries: the database's part of the job `deliver` before a message is sent.

A worker claims a delivery by moving its timer to the end of a lease, so that the delivery of a killed worker comes due
again. It renews the lease until it has recorded the outcome.

No query plan depends on fresh statistics, since many deliveries may be added at once. A claim first reads ids in the
order of their index. After that, each row is read and written by its own id, in one round trip for all: with an array
of ids and outdated statistics, the planner may prefer to read all rows of the organisation. For one id, the planner can
only use the primary key, because all other indexes of these tables are partial (see `Delivery`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, TextClause, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.database.lookups import select_by_ids
from app.core.database.pool import Database
from app.core.outbox.channels import Channels
from app.core.outbox.deliveries import number_lane
from app.core.outbox.models import IS_DELIVERY, IS_URGENT_DELIVERY, Delivery, DeliveryStatus
from app.core.outbox.timers import write_due_organisations_query

LEASE_DURATION = timedelta(seconds=60)


class Lane(NamedTuple):
    """The deliveries of a channel to one destination. Urgent deliveries have another lane than the rest."""

    channel: str
    name: str
    urgent: bool


@dataclass(frozen=True)
class Claim:
    """A delivery that this worker has claimed.

    `attempt` counts from 1. `message` is what the channel loaded; `None` if it found nothing, or if this worker does
    not have the channel.
    """

    org_id: UUID
    id: UUID
    lane: Lane
    attempt: int
    message: Any  # of the type that the channel's sender takes


class _OfOrganisation(Protocol):
    @property
    def org_id(self) -> UUID: ...


T = TypeVar("T", bound=_OfOrganisation)


def group_by_organisation(rows: Iterable[T]) -> Mapping[UUID, Sequence[T]]:
    """Group what belongs to organisations: each transaction is of one organisation."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.org_id].append(row)
    return groups


def with_id(statement: str) -> TextClause:
    """Return a statement with the parameters `org_id` and `id`."""
    return text(statement).bindparams(bindparam("org_id", type_=Uuid), bindparam("id", type_=Uuid))


# Otherwise, if old statistics say that the organisation has few timers, the planner reads and sorts all due ones.
_IN_INDEX_ORDER = text("SET LOCAL enable_sort = off")


def _write_due_ids_query(condition: str) -> TextClause:
    return text(
        f"""
        SELECT subject_id FROM timers
        WHERE org_id = :org_id AND {condition} AND due_at <= :now AND (lane IS NULL OR lane <> ALL(:full_lanes))
        ORDER BY due_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
        """  # noqa: S608 - constants
    ).bindparams(bindparam("org_id", type_=Uuid), bindparam("full_lanes", type_=ARRAY(BigInteger)))


# By urgency. Urgent deliveries are few, so passing over them is cheap, and they need no other index.
_DUE_ORGANISATIONS = {
    True: text(write_due_organisations_query(IS_URGENT_DELIVERY)),
    False: text(write_due_organisations_query(IS_DELIVERY)),
}
_DUE_IDS = {
    True: _write_due_ids_query(IS_URGENT_DELIVERY),
    False: _write_due_ids_query(f"{IS_DELIVERY} AND NOT urgent"),
}

_CLAIMED = (Delivery.id, Delivery.channel, Delivery.lane, Delivery.attempts, Delivery.status)

# By id alone, without the kind: a delivery has only this timer, and the indexes by kind cannot find it by id.
SET_TIMER = with_id("UPDATE timers SET due_at = :due_at WHERE org_id = :org_id AND subject_id = :id")
_INCREMENT_ATTEMPTS = with_id(
    f"""
    UPDATE deliveries SET attempts = attempts + 1
    WHERE org_id = :org_id AND id = :id AND status = '{DeliveryStatus.QUEUED}'
    """  # noqa: S608 - a constant
)
_DECREMENT_ATTEMPTS = with_id("UPDATE deliveries SET attempts = attempts - 1 WHERE org_id = :org_id AND id = :id")


async def find_due_organisations(database: Database, *, urgent: bool = False) -> Sequence[UUID]:
    """Find the organisations with due deliveries, or only those with urgent ones."""
    async with database.session(None) as db:
        return (await db.scalars(_DUE_ORGANISATIONS[urgent], {"now": real_now()})).all()


async def claim_deliveries(
    database: Database,
    org_id: UUID,
    channels: Channels,
    *,
    limit: int,
    urgent: bool = False,
    full_lanes: Collection[Lane] = (),
) -> list[Claim]:
    """Claim an organisation's next due deliveries and load their content; return them in the order of ids.

    Args:
        urgent: claim urgent deliveries instead of the others.
        full_lanes: lanes whose deliveries are passed over.
    """
    now = real_now()
    parameters = {
        "org_id": org_id,
        "now": now,
        "limit": limit,
        "full_lanes": [number_lane(lane.channel, lane.name) for lane in full_lanes],
    }
    async with database.session(org_id) as db:
        await db.execute(_IN_INDEX_ORDER)
        due = (await db.scalars(_DUE_IDS[urgent], parameters)).all()
        if not due:
            return []
        lease_end = now + LEASE_DURATION
        await db.execute(SET_TIMER, [{"org_id": org_id, "id": one, "due_at": lease_end} for one in due])
        await db.execute(_INCREMENT_ATTEMPTS, [{"org_id": org_id, "id": one} for one in due])
        found = await db.execute(select_by_ids(Delivery, org_id, due, _CLAIMED))
        rows = [row for row in found if row.status is DeliveryStatus.QUEUED]
        messages: dict[UUID, Any] = {}
        for name in {row.channel for row in rows} & channels.keys():
            channel_ids = [row.id for row in rows if row.channel == name]
            messages |= await channels[name].load(db, org_id, channel_ids)
    claims = [
        Claim(org_id, row.id, Lane(row.channel, row.lane, urgent), row.attempts, messages.get(row.id)) for row in rows
    ]
    return sorted(claims, key=lambda one: one.id)


async def renew_leases(database: Database, claims: Iterable[Claim]) -> None:
    """Move the end of these claims' leases, because the worker has not finished with them."""
    for org_id, group in group_by_organisation(claims).items():
        async with database.session(org_id) as db:
            await _set_timers(db, group, LEASE_DURATION)


async def release_deliveries(database: Database, claims: Iterable[Claim]) -> None:
    """Release these claims and decrement the counts of attempts, because nothing was sent."""
    for org_id, group in group_by_organisation(claims).items():
        async with database.session(org_id) as db:
            await _set_timers(db, group, timedelta(0))
            await db.execute(_DECREMENT_ATTEMPTS, [{"org_id": org_id, "id": one.id} for one in group])


async def _set_timers(db: AsyncSession, claims: Sequence[Claim], wait: timedelta) -> None:
    # In the order of ids, like all writers of these timers, so that no two of them deadlock.
    due_at, ordered = real_now() + wait, sorted(claims, key=lambda one: one.id)
    await db.execute(SET_TIMER, [{"org_id": one.org_id, "id": one.id, "due_at": due_at} for one in ordered])

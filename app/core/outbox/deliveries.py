"""Deliveries: one row per outgoing message, with its channel, lane, status and outcome.

A delivery is queued together with its content, which the channel stores. Its next attempt is a timer of kind `DELIVER`.
The worker's job `deliver` sends what is due:

- `delivery_loop.py` claims due deliveries, sends many at the same time and records their outcomes.
- `delivery_turns.py` decides from which organisations they are claimed, `delivery_lanes.py` which of them starts next.
- `delivery_claims.py` and `delivery_outcomes.py` have the statements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pool import wake_worker_after_commit
from app.core.outbox.channels import ChannelPolicy, Channels
from app.core.outbox.models import DELIVER, Delivery, DeliveryStatus, Timer


@dataclass(frozen=True, kw_only=True)
class NewDelivery:
    """A message to queue. `destination` determines its lane and is not stored.

    With `error`, it is stored as a failed delivery: listed with its error, and never attempted. An urgent delivery goes
    ahead of all others.
    """

    id: UUID
    destination: str
    urgent: bool = False
    error: str | None = None


async def queue(
    db: AsyncSession, org_id: UUID, policy: ChannelPolicy, messages: Sequence[NewDelivery], *, now: datetime
) -> None:
    """Add deliveries of a channel, due at `now`. The caller adds their content in the same transaction."""
    if not messages:
        return
    wake_worker_after_commit(db)
    lanes = {message.id: policy.get_lane(message.destination) for message in messages}
    await db.execute(
        insert(Delivery),
        [
            {
                "org_id": org_id,
                "id": message.id,
                "channel": policy.name,
                "lane": lanes[message.id],
                "status": DeliveryStatus.FAILED if message.error else DeliveryStatus.QUEUED,
                "last_error": message.error,
                "created_at": now,
            }
            for message in messages
        ],
    )
    timers = [
        {
            "org_id": org_id,
            "subject_id": message.id,
            "kind": DELIVER,
            "due_at": now,
            "lane": number_lane(policy.name, lanes[message.id]),
            "urgent": message.urgent,
        }
        for message in messages
        if not message.error
    ]
    if timers:
        await db.execute(insert(Timer), timers)


def number_lane(channel: str, lane: str) -> int:
    """Return the number of a lane: a signed 64-bit hash, from which the destination cannot be read."""
    digest = hashlib.blake2b(f"{channel}\n{lane}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


async def delete_old(db: AsyncSession, org_id: UUID, channels: Channels, before: datetime, *, batch: int = 1000) -> int:
    """Delete finished deliveries that were created before `before`, with their content.

    Returns:
        The number of deleted deliveries: at most `batch` for each channel.
    """
    deleted = 0
    for name, channel in channels.items():
        old = (
            select(Delivery.id)
            .where(Delivery.org_id == org_id, Delivery.channel == name, Delivery.created_at < before)
            .where(Delivery.status != DeliveryStatus.QUEUED)
            .order_by(Delivery.created_at, Delivery.id)
            .limit(batch)
        )
        if ids := (await db.scalars(old)).all():
            await channel.delete(db, org_id, ids)
            await db.execute(delete(Delivery).where(Delivery.org_id == org_id, Delivery.id.in_(ids)))
        deleted += len(ids)
    return deleted

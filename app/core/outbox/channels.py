"""What a channel is to the outbox: it loads its own content, sends it, and declares how it may be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.outbox.backoff import Backoff

# Seven attempts over some 17 hours.
STANDARD_BACKOFF = Backoff(
    waits=tuple(timedelta(seconds=seconds) for seconds in (30, 2 * 60, 10 * 60, 3600, 4 * 3600, 12 * 3600)),
    jitter=0.2,
)

MessageT = TypeVar("MessageT")
MessageT_contra = TypeVar("MessageT_contra", contravariant=True)


class Result(StrEnum):
    """How one attempt ended."""

    SENT = "SENT"
    TEMPORARY = "TEMPORARY"  # the same message may get through later
    PERMANENT = "PERMANENT"  # it never will


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt. `error` is shown to users and holds no secret."""

    result: Result
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChannelPolicy:
    """What a channel declares about its deliveries.

    Args:
        name: stored with each delivery, so it must outlive the process.
        backoff: the waits between attempts; after the last one, a delivery has failed.
        max_in_flight: messages that one worker may be sending at the same time.
        max_in_flight_per_lane: the same within one lane.
        lane_of: names the lane of a destination. A slow destination holds up its own lane only.
    """

    name: str
    backoff: Backoff
    max_in_flight: int
    max_in_flight_per_lane: int
    lane_of: Callable[[str], str]


class Sender(Protocol[MessageT_contra]):
    """An open channel."""

    async def send(self, message: MessageT_contra) -> Outcome:
        """Try once to hand the message over, within 30 seconds. Report every failure as an outcome; raise nothing."""
        ...


class Channel(Protocol[MessageT]):
    """One way for messages to leave. The content of its deliveries is in a table of its own."""

    @property
    def policy(self) -> ChannelPolicy:
        """What the channel declares."""
        ...

    async def load(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, MessageT]:
        """Read the content of these deliveries, by their ids."""
        ...

    async def delete(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
        """Delete the content of these deliveries, which are deleted next."""
        ...

    def open(self) -> AbstractAsyncContextManager[Sender[MessageT]]:
        """Open the channel for one pass of the worker, so that one connection serves many messages."""
        ...


# By name. `Any`: each channel is given only what it has loaded itself, whatever type that is.
Channels = Mapping[str, Channel[Any]]

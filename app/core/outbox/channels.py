"""The interface of a channel: it loads the content of its deliveries, sends it, and declares how it may be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.outbox.backoff import Backoff

MessageT = TypeVar("MessageT")
MessageT_contra = TypeVar("MessageT_contra", contravariant=True)


class Result(StrEnum):
    """The result of an attempt."""

    SENT = "SENT"
    TEMPORARY = "TEMPORARY"  # failed; a retry may succeed
    PERMANENT = "PERMANENT"  # failed; no retry would succeed


@dataclass(frozen=True)
class Outcome:
    """The result of one attempt. `error` is shown to users and holds no secret."""

    result: Result
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChannelPolicy:
    """What a channel declares about its deliveries. `Lanes` keeps to it.

    Args:
        name: stored with each delivery, so it must outlive the process.
        backoff: the waits between attempts; after the last attempt, a delivery has failed.
        max_in_flight: the number of messages that one worker may send at the same time. Messages that hang are replaced
            by up to four times as many more. Two more are for urgent messages and for lanes that work.
        max_in_flight_per_lane: the number of messages of one lane that one worker may send at the same time,
            once one of them has been sent. Before that, it is one.
        get_lane: returns the name of a destination's lane. A slow destination delays only its own lane.
    """

    name: str
    backoff: Backoff
    max_in_flight: int
    max_in_flight_per_lane: int
    get_lane: Callable[[str], str]


class Sender(Protocol[MessageT_contra]):
    """An open channel. It sends several messages at the same time."""

    async def send(self, message: MessageT_contra) -> Outcome:
        """Try once to send the message, in limited time. Report every failure as an outcome; raise nothing."""
        ...


class Channel(Protocol[MessageT]):
    """A way to send messages. Each channel has a table for the content of its deliveries."""

    @property
    def policy(self) -> ChannelPolicy:
        """The channel's declaration."""
        ...

    async def load(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, MessageT]:
        """Read the content of these deliveries, by their ids."""
        ...

    async def delete(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
        """Delete the content of these deliveries. The caller deletes the deliveries next."""
        ...

    def open(self) -> AbstractAsyncContextManager[Sender[MessageT]]:
        """Open the channel for as long as the worker runs, so that many messages share its connections."""
        ...


# By name. `Any`: each channel sends only what it has loaded itself, so the outbox does not need the type.
Channels = Mapping[str, Channel[Any]]

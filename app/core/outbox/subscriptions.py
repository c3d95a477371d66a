"""Which handlers take which events. Both kinds are declared per class, and what a handler receives is type-checked.

A handler declared for a class receives its subclasses as well, and with `ANY` every event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.outbox.events import ANY, E, Event, Recorded, class_of, subclasses_of

# Happens in the same transaction as the event: it must be true as soon as the request is answered.
Reaction = Callable[[AsyncSession, UUID, E], Awaitable[None]]
# Takes events in order, with their numbers.
Subscriber = Callable[[AsyncSession, UUID, Sequence[Recorded[E]]], Awaitable[None]]
AnySubscriber = Subscriber[Any]

Statement = TypeVar("Statement", bound=Callable[..., object])

_WRITTEN_BY: dict[type[Event], str] = {}


class UnreachableReaction(Exception):
    """A reaction would never run, since a statement writes its event past `record`."""


def writes(*events: type[Event]) -> Callable[[Statement], Statement]:
    """Declare that a function's statement numbers and writes these events itself, past `record` and all reactions."""

    def declare(statement: Statement) -> Statement:
        for event in events:
            _WRITTEN_BY[event] = f"{statement.__module__}.{statement.__qualname__}"
        return statement

    return declare


class Reactions:
    """The reactions to each event, in the order in which they were declared."""

    def __init__(self) -> None:
        self._declared: list[tuple[type[Event], Reaction[Any]]] = []

    def on(self, event: type[E], *reactions: Reaction[E]) -> Self:
        """Let these happen in the transaction of an event, in this order, before it commits.

        Raises:
            UnreachableReaction
        """
        self._declared.extend((event, react) for react in reactions)
        self.check()
        return self

    def to(self, event: Event) -> list[Reaction[Any]]:
        """The reactions to an event."""
        return [react for declared, react in self._declared if isinstance(event, declared)]

    def check(self) -> None:
        """Refuse reactions that would never run. Called when a process starts, with every statement declared.

        Raises:
            UnreachableReaction
        """
        for declared, react in self._declared:
            for event in subclasses_of(declared):
                if event in _WRITTEN_BY:
                    raise UnreachableReaction(
                        f"{name_of(react)} cannot react to {event.__name__}: {_WRITTEN_BY[event]} writes that event "
                        "past `record`. Make it a subscriber, or let the statement do what it does."
                    )


class Subscribers:
    """The subscribers to each event, in the order in which they were declared."""

    def __init__(self) -> None:
        self._declared: list[tuple[type[Event], AnySubscriber]] = []

    def on(self, event: type[E], *subscribers: Subscriber[E]) -> Self:
        """Show an event to these."""
        self._declared.extend((event, subscriber) for subscriber in subscribers)
        return self

    def to(self, event_type: str) -> list[AnySubscriber]:
        """The subscribers to a type of event; of a type without a class, those to `ANY`."""
        event = class_of(event_type) or Event
        found = [subscriber for declared, subscriber in self._declared if issubclass(event, declared)]
        return list(dict.fromkeys(found))

    @property
    def types(self) -> list[str] | None:
        """The types of event that have a subscriber. None means all, including those that have no class."""
        if any(declared is ANY for declared, _ in self._declared):
            return None
        return sorted({event.type for declared, _ in self._declared for event in subclasses_of(declared)})


def name_of(handler: Callable[..., object]) -> str:
    """The name of a handler. It is stored with a failure, so it must be the same after a restart."""
    return getattr(handler, "__name__", type(handler).__name__)

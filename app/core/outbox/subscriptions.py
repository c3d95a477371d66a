"""Reactions and subscribers: the handlers of events.

Each handler is registered for an event class, and its parameter has that type.

A handler declared for a class receives the events of its subclasses too. A handler declared for `ANY` receives all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.outbox.events import ANY, E, Event, Recorded, find_event_class, list_event_classes

# Runs in the transaction of the event: the effect must be visible once the client has the response.
Reaction = Callable[[AsyncSession, UUID, E], Awaitable[None]]
# Runs in the worker, soon after the commit. Receives events in order, with their numbers.
Subscriber = Callable[[AsyncSession, UUID, Sequence[Recorded[E]]], Awaitable[None]]
AnySubscriber = Subscriber[Any]

StatementFunction = TypeVar("StatementFunction", bound=Callable[..., object])

_WRITTEN_BY: dict[type[Event], str] = {}


class UnreachableReaction(Exception):
    """A reaction would never run, because a SQL statement writes its event without `record`."""


def writes(*events: type[Event]) -> Callable[[StatementFunction], StatementFunction]:
    """Declare that a function's SQL statement writes these events itself, without `record` and without reactions."""

    def declare(statement: StatementFunction) -> StatementFunction:
        for event in events:
            _WRITTEN_BY[event] = f"{statement.__module__}.{statement.__qualname__}"
        return statement

    return declare


class Reactions:
    """The reactions to each event, in the order of their declarations."""

    def __init__(self) -> None:
        self._declared: list[tuple[type[Event], Reaction[Any]]] = []

    def on(self, event: type[E], *reactions: Reaction[E]) -> Self:
        """Run these reactions in the transaction of an event, in this order, before it commits.

        Raises:
            UnreachableReaction
        """
        self._declared.extend((event, react) for react in reactions)
        self.check()
        return self

    def find(self, event: Event) -> list[Reaction[Any]]:
        """Return the reactions to an event."""
        return [react for declared, react in self._declared if isinstance(event, declared)]

    def check(self) -> None:
        """Refuse reactions that would never run. Call it when a process starts, after all modules are imported.

        Raises:
            UnreachableReaction
        """
        for declared, react in self._declared:
            for event in list_event_classes(declared):
                if event in _WRITTEN_BY:
                    raise UnreachableReaction(
                        f"{get_handler_name(react)} cannot react to {event.__name__}: {_WRITTEN_BY[event]} writes that "
                        "event without `record`. Register it as a subscriber, or do its work in that statement."
                    )


class Subscribers:
    """The subscribers to each event, in the order of their declarations."""

    def __init__(self) -> None:
        self._declared: list[tuple[type[Event], AnySubscriber]] = []

    def on(self, event: type[E], *subscribers: Subscriber[E]) -> Self:
        """Relay an event to these subscribers."""
        self._declared.extend((event, subscriber) for subscriber in subscribers)
        return self

    def find(self, event_type: str) -> list[AnySubscriber]:
        """Return the subscribers to a type of event.

        For a type that this version has no class for, these are the subscribers to `ANY`.
        """
        event = find_event_class(event_type) or Event
        found = [subscriber for declared, subscriber in self._declared if issubclass(event, declared)]
        return list(dict.fromkeys(found))

    @property
    def types(self) -> list[str] | None:
        """The types of event that have a subscriber; `None` for all types, including types without a class."""
        if any(declared is ANY for declared, _ in self._declared):
            return None
        return sorted({event.type for declared, _ in self._declared for event in list_event_classes(declared)})


def get_handler_name(handler: Callable[..., object]) -> str:
    """Return the name of a handler. It is stored with failures, so it must be the same after a restart."""
    return getattr(handler, "__name__", type(handler).__name__)

"""Declarations of reactions and subscribers: by class of event, and type-checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app import wiring
from app.core.clock import real_now
from app.core.outbox.events import ANY, SYSTEM, Event, Recorded
from app.core.outbox.subscriptions import Reactions, Subscribers, UnreachableReaction, writes
from app.tickets.events import TicketAssigned, TicketClosingSoon, TicketCreated, TicketEvent, TicketStatusChanged


@dataclass(frozen=True, kw_only=True)
class Light(Event):
    """The base of `Lit` and `PutOut`."""


@dataclass(frozen=True, kw_only=True)
class Lit(Light):
    type: ClassVar[str] = "test_subscriptions.lit"


@dataclass(frozen=True, kw_only=True)
class PutOut(Light):
    type: ClassVar[str] = "test_subscriptions.put_out"


@dataclass(frozen=True, kw_only=True)
class Counted(Event):
    type: ClassVar[str] = "test_subscriptions.counted"


@writes(Counted)
def count() -> None: ...


async def on_lit(_db: AsyncSession, _org_id: UUID, _event: Lit) -> None: ...


async def on_either(_db: AsyncSession, _org_id: UUID, _event: Lit | PutOut) -> None: ...


async def on_light(_db: AsyncSession, _org_id: UUID, _event: Light) -> None: ...


async def on_any(_db: AsyncSession, _org_id: UUID, _event: Event) -> None: ...


async def on_ticket(_db: AsyncSession, _org_id: UUID, _event: TicketEvent) -> None: ...


async def show_lit(_db: AsyncSession, _org_id: UUID, _recorded: Sequence[Recorded[Lit]]) -> None: ...


async def show_either(_db: AsyncSession, _org_id: UUID, _recorded: Sequence[Recorded[Lit | PutOut]]) -> None: ...


async def show_any(_db: AsyncSession, _org_id: UUID, _recorded: Sequence[Recorded[Event]]) -> None: ...


def test_reactions_run_in_the_order_of_their_declarations() -> None:
    reactions = Reactions().on(Lit, on_either, on_lit).on(Light, on_light).on(PutOut, on_either)

    assert reactions.find(Lit(at=real_now(), actor=SYSTEM)) == [on_either, on_lit, on_light]
    assert reactions.find(PutOut(at=real_now(), actor=SYSTEM)) == [on_light, on_either]


def test_a_handler_declared_for_a_base_class_is_found_once_for_its_events() -> None:
    subscribers = Subscribers().on(Lit, show_lit, show_either).on(PutOut, show_either).on(Light, show_any)

    assert subscribers.find(Lit.type) == [show_lit, show_either, show_any]
    assert subscribers.find(PutOut.type) == [show_either, show_any]
    assert subscribers.find(Counted.type) == subscribers.find("test_subscriptions.unknown") == []
    assert subscribers.types == [Lit.type, PutOut.type]


def test_a_subscriber_to_any_also_receives_types_without_a_class() -> None:
    subscribers = Subscribers().on(Lit, show_lit).on(ANY, show_any)

    assert subscribers.find("test_subscriptions.unknown") == [show_any]
    assert subscribers.find(Lit.type) == [show_lit, show_any]
    assert subscribers.types is None


def test_a_handler_of_another_event_is_a_type_error() -> None:
    """mypy is the test: if it accepted one of these lines, it would report the unused `type: ignore`."""
    Reactions().on(PutOut, on_lit)  # type: ignore[arg-type] # it takes Lit
    Reactions().on(Light, on_either)  # type: ignore[arg-type] # not every Light is Lit or PutOut
    Subscribers().on(PutOut, show_lit)  # type: ignore[arg-type] # it takes Lit
    Subscribers().on(ANY, show_either)  # type: ignore[arg-type] # it takes Lit and PutOut
    Subscribers().on(Lit, on_lit)  # type: ignore[arg-type] # it is a reaction
    Reactions().on(Lit, on_either, on_any).on(PutOut, on_either)
    Subscribers().on(Lit, show_either, show_any).on(PutOut, show_either)


@pytest.mark.parametrize("event", [Counted, TicketCreated, TicketAssigned, TicketStatusChanged])
def test_a_reaction_to_an_event_that_a_statement_writes_is_refused(event: type[Event]) -> None:
    with pytest.raises(UnreachableReaction, match=rf"on_any cannot react to {event.__name__}: \S+ writes that event"):
        Reactions().on(event, on_any)


def test_a_reaction_to_a_base_of_such_an_event_is_refused() -> None:
    with pytest.raises(UnreachableReaction, match="on_ticket cannot react to TicketCreated"):
        Reactions().on(TicketEvent, on_ticket)
    Reactions().on(TicketClosingSoon, on_ticket)


def test_a_statement_declared_after_a_reaction_is_found_by_the_check() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Tallied(Event):
        type: ClassVar[str] = "test_subscriptions.tallied"

    reactions = Reactions().on(Tallied, on_any)
    reactions.check()
    writes(Tallied)(count)

    with pytest.raises(UnreachableReaction, match=r"on_any cannot react to Tallied: .*count writes that event"):
        reactions.check()


def test_all_reactions_of_the_service_can_run() -> None:
    wiring.REACTIONS.check()

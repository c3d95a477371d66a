"""The catalogue of events: the stored data of an event, and reading it back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import Field

import app
from app.core.outbox.events import (
    SYSTEM,
    Actor,
    ActorType,
    Event,
    ReactionOnly,
    Subject,
    UnreadableEvent,
    ValueNotStored,
    get_data_model,
    list_event_classes,
)
from app.core.outbox.models import EventRow

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class Colour(StrEnum):
    RED = "RED"


@dataclass(frozen=True, kw_only=True)
class DoorEvent(Event):
    door_id: Subject


@dataclass(frozen=True, kw_only=True)
class Painted(DoorEvent):
    """A door was painted."""

    type: ClassVar[str] = "test_events.painted"

    colour: Colour
    dry_at: datetime
    painter_id: UUID
    coats: list[int]
    notes: dict[str, str]
    from_colour: Annotated[Colour | None, Field(alias="from")] = None
    customer: ReactionOnly[str]


@dataclass(frozen=True, kw_only=True)
class Slammed(Event):
    type: ClassVar[str] = "test_events.slammed"
    version: ClassVar[int] = 2


def make_painted() -> Painted:
    return Painted(
        at=AT,
        actor=Actor(ActorType.USER, uuid4()),
        door_id=uuid4(),
        colour=Colour.RED,
        dry_at=AT,
        painter_id=uuid4(),
        coats=[1, 2],
        notes={"where": "outside"},
        customer=ReactionOnly("Mia Holm"),
    )


def make_row(event: Event, **other: Any) -> EventRow:
    columns = {
        "org_id": uuid4(),
        "seq": 7,
        "id": uuid4(),
        "type": event.type,
        "version": event.version,
        "subject_id": event.subject_id,
        "actor_type": event.actor.type.value,
        "actor_id": event.actor.id,
        "data": event.dump_data(),
        "created_at": event.at,
    }
    return EventRow(**(columns | other))


def test_an_event_is_read_back_without_the_values_that_are_not_stored() -> None:
    event = make_painted()
    row = make_row(event)

    recorded = Event.from_row(row)

    assert (recorded.org_id, recorded.seq, recorded.id) == (row.org_id, 7, row.id)
    assert recorded.event == replace(event, customer=ReactionOnly())


def test_the_data_is_json_in_camel_case_without_subject_and_reaction_only_values() -> None:
    event = make_painted()

    assert event.dump_data() == {
        "colour": "RED",
        "dryAt": "2026-03-01T12:00:00.123456Z",
        "painterId": str(event.painter_id),
        "coats": [1, 2],
        "notes": {"where": "outside"},
        "from": None,
    }
    assert event.subject_id == event.door_id
    assert "Mia" not in repr(event)


def test_a_reaction_only_value_cannot_be_read_from_a_stored_event() -> None:
    event = make_painted()
    read = Painted.from_row(make_row(event)).event

    assert event.customer.value == "Mia Holm"
    with pytest.raises(ValueNotStored):
        assert read.customer.value


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"type": "test_events.oiled"}, "not in the catalogue"),
        ({"version": 2}, "not in the catalogue"),
        ({"data": {"colour": "GREEN"}}, "is not valid"),
        ({"data": {}}, "is not valid"),
    ],
)
def test_an_event_written_by_newer_code_cannot_be_read(other: dict[str, Any], why: str) -> None:
    with pytest.raises(UnreadableEvent, match=why):
        Event.from_row(make_row(make_painted(), **other))


def test_an_event_is_read_through_its_class_or_a_base_class() -> None:
    row = make_row(make_painted())

    assert isinstance(DoorEvent.from_row(row).event, Painted)
    with pytest.raises(UnreadableEvent, match="is not a Slammed"):
        Slammed.from_row(row)


def test_older_data_may_lack_optional_fields_and_have_removed_ones() -> None:
    event = make_painted()
    data = event.dump_data() | {"brush": "broad"}
    del data["from"]

    assert Painted.from_row(make_row(event, data=data)).event.from_colour is None


def test_two_events_cannot_have_the_same_type() -> None:
    with pytest.raises(TypeError, match=r"Repainted and Painted have the same type, 'test_events\.painted'"):

        class Repainted(Event):
            type: ClassVar[str] = "test_events.painted"

    assert Event.from_row(make_row(make_painted())).event.__class__ is Painted


def test_a_statement_gets_the_stored_data_of_all_its_events() -> None:
    painted = make_painted()
    names = ("painter_id", "colour", "dry_at", "coats", "notes", "from_colour")
    values = {name: getattr(painted, name) for name in names}

    assert orjson.loads(Painted.dump_json(**values)) == painted.dump_data()
    assert (Painted.get_stored_name("painter_id"), Painted.get_stored_name("from_colour")) == ("painterId", "from")
    del values["painter_id"]
    with pytest.raises(TypeError, match="Painted: painter_id"):
        Painted.dump_json(**values)
    with pytest.raises(TypeError, match="Painted: hue"):
        Painted.dump_json(**values, painter_id=painted.painter_id, hue=1)


def test_the_data_model_documents_the_data() -> None:
    schema = get_data_model(Painted).model_json_schema(mode="serialization")

    assert schema["description"] == "A door was painted."
    assert list(schema["properties"]) == ["colour", "dryAt", "painterId", "coats", "notes", "from"]


def test_the_event_classes_of_a_base_are_listed() -> None:
    assert list_event_classes(DoorEvent) == [Painted]
    assert Event(at=AT, actor=SYSTEM).subject_id is None


def test_importing_the_wiring_registers_every_event() -> None:
    """The worker imports no routes."""
    folder = Path(app.__file__).parent
    for path in folder.rglob("events.py"):
        import_module(".".join(path.relative_to(folder.parent).with_suffix("").parts))
    everything = {event.type for event in list_event_classes(Event) if event.__module__.startswith("app.")}

    program = (
        "import app.wiring, app.core.outbox.events as e; print(*(one.type for one in e.list_event_classes(e.Event)))"
    )
    known = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert set(known) == everything
    assert len(everything) > 30

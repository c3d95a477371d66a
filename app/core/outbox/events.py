"""The catalogue of what can happen: each event is a frozen dataclass that converts to and from its stored row itself.

`record` collects events in a transaction. They are numbered and written when it commits: see `numbering.py`.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Self,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.alias_generators import to_camel
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pool import BEFORE_COMMIT

if TYPE_CHECKING:
    from app.core.outbox.models import EventRow

PENDING = "pending_events"


class ActorType(StrEnum):
    """Who can make something happen."""

    USER = "USER"
    ORGANISATION = "ORGANISATION"
    SYSTEM = "SYSTEM"


@dataclass(frozen=True)
class Actor:
    """Who did it: a user, the organisation's product (by its secret), or Tessera itself."""

    type: ActorType
    id: UUID | None = None


SYSTEM = Actor(ActorType.SYSTEM)


# --- kinds of fields -------------------------------------------------------------------------------------------------


class _IsSubject:
    """Marks the field with the id of the row that an event is about."""


# Stored in the column `subject_id`, by which a row's history is found, and not repeated in the data.
Subject = Annotated[UUID, _IsSubject()]


class _Absent(Enum):
    ABSENT = auto()


class ValueNotStored(Exception):
    """A value that only reactions see was asked for after the event's transaction."""


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class ReactionOnly(Generic[T_co]):
    """A value for the reactions to an event that is never stored, such as an address that is being deleted."""

    _value: T_co | _Absent = field(default=_Absent.ABSENT, repr=False)

    @property
    def value(self) -> T_co:
        """The value.

        Raises:
            ValueNotStored: the event was read from the table.
        """
        if isinstance(self._value, _Absent):
            raise ValueNotStored
        return self._value


# --- events ----------------------------------------------------------------------------------------------------------


class UnreadableEvent(Exception):
    """A stored event that this version of the code has no class for, or whose data its class does not take."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of every event. A subclass with a `type` joins the catalogue; its own fields become the stored data.

    The data has camelCase names. A field of the type `Subject` or `ReactionOnly` is not part of it. `version` is stored
    with each event: raise it when the data changes its meaning, and let `from_row` read the older versions as well.

    `at` is the organisation's time; the stored time is never before the one of the commit before (`numbering.py`).
    """

    type: ClassVar[str]
    version: ClassVar[int] = 1

    at: datetime
    actor: Actor

    def __init_subclass__(cls) -> None:
        if "type" not in cls.__dict__:  # a base of several events
            return
        other = _CATALOGUE.setdefault(cls.type, cls)
        if other is not cls:
            raise TypeError(f"{cls.__qualname__} and {other.__qualname__} have the same type, {cls.type!r}.")

    @property
    def subject_id(self) -> UUID | None:
        """The id of the row that the event is about, if it names one."""
        subject = _shape(type(self)).subject
        return None if subject is None else cast("UUID", getattr(self, subject))

    def data(self) -> dict[str, Any]:
        """What changed, as it is stored and shown: JSON."""
        shape = _shape(type(self))
        return shape.dump({name: getattr(self, name) for name in shape.stored})

    @classmethod
    def from_row(cls, row: EventRow) -> Recorded[Self]:
        """The event of a row of the table.

        Raises:
            UnreadableEvent: it was written by a newer version of the code, or is of another class.
        """
        found = _CATALOGUE.get(row.type)
        if found is None or row.version > found.version:
            raise UnreadableEvent(f"{row.type} of version {row.version} is not in the catalogue.")
        if not issubclass(found, cls):
            raise UnreadableEvent(f"{row.type} is no {cls.__name__}.")
        shape = _shape(found)
        try:
            values = shape.load(row.data)
        except ValidationError as error:
            raise UnreadableEvent(f"{row.type} does not hold what it should.") from error
        if shape.subject is not None:
            values[shape.subject] = row.subject_id
        values.update((name, ReactionOnly()) for name in shape.for_reactions)
        actor = Actor(ActorType(row.actor_type), row.actor_id)
        event = found(at=row.created_at, actor=actor, **values)
        return Recorded(org_id=row.org_id, seq=row.seq, id=row.id, event=event)

    # For statements that write events themselves:

    @classmethod
    def key(cls, name: str) -> str:
        """The name that a field has in the stored data."""
        return _shape(cls).stored[name]

    @classmethod
    def json_without(cls, *left_out: str, **values: Any) -> str:
        """The stored data as JSON, but for some fields that only the database knows. Every field must be named.

        Raises:
            TypeError: a field of the class is missing, or is none of the class's.
        """
        shape = _shape(cls)
        if difference := shape.stored.keys() ^ {*left_out, *values}:
            raise TypeError(f"{cls.__name__}: {', '.join(sorted(difference))}")
        return orjson.dumps(shape.dump(values)).decode()


E_co = TypeVar("E_co", bound=Event, covariant=True)
E = TypeVar("E", bound=Event)

# All events: what is declared for a class holds for its subclasses.
ANY: Final = Event


@dataclass(frozen=True)
class Recorded(Generic[E_co]):
    """An event with its number: 1, 2, 3… in its organisation, in commit order."""

    org_id: UUID
    seq: int
    id: UUID
    event: E_co


def record(db: AsyncSession, *events: Event) -> None:
    """Append events to the history; they are written when the transaction commits."""
    if db.info.get(BEFORE_COMMIT) is None:
        raise RuntimeError("The events of this session would be lost: its pool does nothing before it commits.")
    pending(db).extend(events)


def pending(db: AsyncSession) -> list[Event]:
    """The events that this transaction has recorded and not written yet."""
    return cast("list[Event]", db.info.setdefault(PENDING, []))


# --- the catalogue ---------------------------------------------------------------------------------------------------

_CATALOGUE: dict[str, type[Event]] = {}


def class_of(event_type: str) -> type[Event] | None:
    """The class of a type; nothing for a type that a newer version of the code has written."""
    return _CATALOGUE.get(event_type)


def subclasses_of(base: type[E]) -> list[type[E]]:
    """All events of the catalogue that are of a class, in the order in which they were defined."""
    return [one for one in _CATALOGUE.values() if issubclass(one, base)]


def data_model(event: type[Event]) -> type[BaseModel]:
    """The stored data of an event as a model, which documents itself."""
    return _shape(event).model


class _Data(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class _Shape:
    """What becomes of a class's fields.

    `subject` is the field with the subject's id. `stored` has the name of each field in the stored data.
    """

    subject: str | None
    for_reactions: list[str]
    stored: dict[str, str]
    model: type[BaseModel]

    def dump(self, values: dict[str, Any]) -> dict[str, Any]:
        return self.model.model_construct(**values).model_dump(mode="json", by_alias=True)

    def load(self, data: dict[str, Any]) -> dict[str, Any]:
        model = self.model.model_validate(data)
        return {name: getattr(model, name) for name in self.stored}


_SHAPES: dict[type[Event], _Shape] = {}


def _shape(event: type[Event]) -> _Shape:
    shape = _SHAPES.get(event)
    if shape is None:
        shape = _SHAPES[event] = _shape_of(event)
    return shape


def _shape_of(event: type[Event]) -> _Shape:
    hints = get_type_hints(event, include_extras=True)
    own = [one for one in fields(event) if one.name not in _FIELDS_OF_ALL]
    subjects = [one.name for one in own if any(isinstance(mark, _IsSubject) for mark in get_args(hints[one.name]))]
    for_reactions = [one.name for one in own if get_origin(hints[one.name]) is ReactionOnly]
    declared: dict[str, Any] = {
        one.name: (hints[one.name], ... if one.default is MISSING else one.default)
        for one in own
        if one.name not in {*subjects, *for_reactions}
    }
    model = create_model(f"{event.__name__}Data", __base__=_Data, __doc__=event.__doc__, **declared)
    names = {name: info.serialization_alias or name for name, info in model.model_fields.items()}
    return _Shape(subjects[0] if subjects else None, for_reactions, names, model)


_FIELDS_OF_ALL = frozenset(one.name for one in fields(Event))

"""The catalogue of events: each event is a frozen dataclass that converts itself to and from its stored row.

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

PENDING_EVENTS = "pending_events"


class ActorType(StrEnum):
    """The kinds of actors."""

    USER = "USER"
    ORGANISATION = "ORGANISATION"
    SYSTEM = "SYSTEM"


@dataclass(frozen=True)
class Actor:
    """The cause of an event: a user, the organisation's product (by its secret key), or Tessera itself."""

    type: ActorType
    id: UUID | None = None


SYSTEM = Actor(ActorType.SYSTEM)


# --- kinds of fields -------------------------------------------------------------------------------------------------


class _IsSubject:
    """Marks the field with the id of the row that an event is about."""


# Stored in the column `subject_id`, through which a row's history is read, and not repeated in the data.
Subject = Annotated[UUID, _IsSubject()]


class _Absent(Enum):
    ABSENT = auto()


class ValueNotStored(Exception):
    """A value that only reactions receive was read after the event's transaction."""


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class ReactionOnly(Generic[T_co]):
    """A value that the reactions to an event receive and that is never stored, such as an address being deleted."""

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
    """This version of the code has no class for a stored event, or its class does not accept the stored data."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of every event. A subclass with a `type` joins the catalogue; its fields become the stored data.

    The data has camelCase names. Fields of the types `Subject` and `ReactionOnly` are not part of it. `version` is
    stored with each event. Raise it when the data changes its meaning, and make `from_row` read older versions too.

    `at` is the organisation's time. The stored time is later if an earlier commit has a later time (`numbering.py`).
    """

    type: ClassVar[str]
    version: ClassVar[int] = 1

    at: datetime
    actor: Actor

    def __init_subclass__(cls) -> None:
        if "type" not in cls.__dict__:  # a common base of several events
            return
        other = _CATALOGUE.setdefault(cls.type, cls)
        if other is not cls:
            raise TypeError(f"{cls.__qualname__} and {other.__qualname__} have the same type, {cls.type!r}.")

    @property
    def subject_id(self) -> UUID | None:
        """The id of the row that the event is about; `None` if it is about none."""
        subject = _get_shape(type(self)).subject
        return None if subject is None else cast("UUID", getattr(self, subject))

    def dump_data(self) -> dict[str, Any]:
        """Return the data as JSON, in the form that is stored and shown."""
        shape = _get_shape(type(self))
        return shape.dump({name: getattr(self, name) for name in shape.stored})

    @classmethod
    def from_row(cls, row: EventRow) -> Recorded[Self]:
        """Make the event of a stored row.

        Raises:
            UnreadableEvent: a newer version of the code wrote the event, or the event is not of this class.
        """
        found = _CATALOGUE.get(row.type)
        if found is None or row.version > found.version:
            raise UnreadableEvent(f"{row.type} of version {row.version} is not in the catalogue.")
        if not issubclass(found, cls):
            raise UnreadableEvent(f"{row.type} is not a {cls.__name__}.")
        shape = _get_shape(found)
        try:
            values = shape.load(row.data)
        except ValidationError as error:
            raise UnreadableEvent(f"The data of {row.type} is not valid.") from error
        if shape.subject is not None:
            values[shape.subject] = row.subject_id
        values.update((name, ReactionOnly()) for name in shape.reaction_only)
        actor = Actor(row.actor_type, row.actor_id)
        event = found(at=row.created_at, actor=actor, **values)
        return Recorded(org_id=row.org_id, seq=row.seq, id=row.id, event=event)

    @classmethod
    def get_stored_name(cls, name: str) -> str:
        """Return the name of a field in the stored data."""
        return _get_shape(cls).stored[name]

    @classmethod
    def dump_json(cls, **values: Any) -> str:
        """Return the stored data as JSON, for a statement that writes many events with the same data.

        Raises:
            TypeError: a field is missing, or the class does not have it.
        """
        shape = _get_shape(cls)
        if difference := shape.stored.keys() ^ {*values}:
            raise TypeError(f"{cls.__name__}: {', '.join(sorted(difference))}")
        return orjson.dumps(shape.dump(values)).decode()


E_co = TypeVar("E_co", bound=Event, covariant=True)
E = TypeVar("E", bound=Event)

# A handler declared for a class receives the events of its subclasses, so this stands for all events.
ANY: Final = Event


@dataclass(frozen=True)
class Recorded(Generic[E_co]):
    """An event with its number: 1, 2, 3… in its organisation, in commit order."""

    org_id: UUID
    seq: int
    id: UUID
    event: E_co


def record(db: AsyncSession, *events: Event) -> None:
    """Collect events, which are numbered and written when the transaction commits."""
    if db.info.get(BEFORE_COMMIT) is None:
        raise RuntimeError("The events of this session would be lost: its pool has no `before_commit`.")
    get_pending_events(db).extend(events)


def get_pending_events(db: AsyncSession) -> list[Event]:
    """Return the events that this transaction has recorded and not written yet."""
    return cast("list[Event]", db.info.setdefault(PENDING_EVENTS, []))


# --- the catalogue ---------------------------------------------------------------------------------------------------

_CATALOGUE: dict[str, type[Event]] = {}


def find_event_class(event_type: str) -> type[Event] | None:
    """Return the class of a type; `None` for a type that only a newer version of the code has."""
    return _CATALOGUE.get(event_type)


def list_event_classes(base: type[E]) -> list[type[E]]:
    """List the classes of the catalogue that are or extend a class, in the order of their definitions."""
    return [one for one in _CATALOGUE.values() if issubclass(one, base)]


def get_data_model(event: type[Event]) -> type[BaseModel]:
    """Return the model of an event's stored data, which makes its JSON schema."""
    return _get_shape(event).model


class _Data(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class _Shape:
    """The fields of an event class, by their use.

    `subject` is the field with the subject's id. `stored` maps the fields of the data to their stored names.
    """

    subject: str | None
    reaction_only: list[str]
    stored: dict[str, str]
    model: type[BaseModel]

    def dump(self, values: dict[str, Any]) -> dict[str, Any]:
        return self.model.model_construct(**values).model_dump(mode="json", by_alias=True)

    def load(self, data: dict[str, Any]) -> dict[str, Any]:
        model = self.model.model_validate(data)
        return {name: getattr(model, name) for name in self.stored}


_SHAPES: dict[type[Event], _Shape] = {}


def _get_shape(event: type[Event]) -> _Shape:
    shape = _SHAPES.get(event)
    if shape is None:
        shape = _SHAPES[event] = _make_shape(event)
    return shape


def _make_shape(event: type[Event]) -> _Shape:
    hints = get_type_hints(event, include_extras=True)
    own_fields = [one for one in fields(event) if one.name not in _COMMON_FIELDS]
    subjects = [
        one.name for one in own_fields if any(isinstance(mark, _IsSubject) for mark in get_args(hints[one.name]))
    ]
    reaction_only = [one.name for one in own_fields if get_origin(hints[one.name]) is ReactionOnly]
    declared: dict[str, Any] = {
        one.name: (hints[one.name], ... if one.default is MISSING else one.default)
        for one in own_fields
        if one.name not in {*subjects, *reaction_only}
    }
    model = create_model(f"{event.__name__}Data", __base__=_Data, __doc__=event.__doc__, **declared)
    names = {name: info.serialization_alias or name for name, info in model.model_fields.items()}
    return _Shape(subjects[0] if subjects else None, reaction_only, names, model)


_COMMON_FIELDS = frozenset(one.name for one in fields(Event))

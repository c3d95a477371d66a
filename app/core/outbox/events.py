"""What happened: `record` collects events, `flush` numbers and writes them as the transaction's last statement.

The organisation's counter row is locked from there to the commit, so the numbers are dense and in commit order, and a
reader that asks for `seq > N` never misses one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, cast
from uuid import UUID

import orjson
from pydantic.alias_generators import to_camel
from sqlalchemy import BigInteger, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.ids import new_id

PENDING = "pending_events"
REACTIONS = "reactions"
WORK = "work"


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


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of every event. A subclass names its `type`; its own fields become `data`, in camelCase.

    `at` is the organisation's time.
    """

    type: ClassVar[str]

    at: datetime
    actor: Actor
    ticket_id: UUID | None = None

    def data(self) -> dict[str, Any]:
        """What changed, as it is stored and shown in the history."""
        return {to_camel(f.name): getattr(self, f.name) for f in fields(self) if f.name not in _BASE_FIELDS}


_BASE_FIELDS = frozenset({"at", "actor", "ticket_id"})

# What happens within the same transaction as an event: it must be true as soon as the request is answered.
Reaction = Callable[[AsyncSession, UUID, Event], Awaitable[None]]
Reactions = Mapping[str, Sequence[Reaction]]


@dataclass(frozen=True)
class StoredEvent:
    """An event as the subscribers read it."""

    org_id: UUID
    seq: int
    type: str
    ticket_id: UUID | None
    actor_id: UUID | None
    data: dict[str, Any]
    created_at: datetime


def record(db: AsyncSession, *happened: Event) -> None:
    """Append what happened to the history; it is written when the transaction commits."""
    _pending(db).extend(happened)


def _pending(db: AsyncSession) -> list[Event]:
    return cast("list[Event]", db.info.setdefault(PENDING, []))


_APPEND = text(
    """
    WITH counter AS (
        UPDATE counters SET last_event = last_event + :n WHERE org_id = :org_id RETURNING last_event
    )
    INSERT INTO events (org_id, seq, id, type, ticket_id, actor_type, actor_id, data, created_at)
    SELECT :org_id, counter.last_event - :n + e.place, e.id, e.type, e.ticket_id, e.actor_type, e.actor_id,
           e.data::jsonb, e.created_at
    FROM counter, unnest(:ids, :types, :tickets, :actor_types, :actors, :data, :times)
         WITH ORDINALITY AS e (id, type, ticket_id, actor_type, actor_id, data, created_at, place)
    """
).bindparams(
    bindparam("n", type_=BigInteger),
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("types", type_=ARRAY(Text)),
    bindparam("tickets", type_=ARRAY(Uuid)),
    bindparam("actor_types", type_=ARRAY(Text)),
    bindparam("actors", type_=ARRAY(Uuid)),
    bindparam("data", type_=ARRAY(Text)),
    bindparam("times", type_=ARRAY(TIMESTAMP(timezone=True))),
)


def has_work(db: AsyncSession) -> None:
    """Have this process's worker look for work once the transaction has committed, rather than at its next turn."""
    db.info[WORK] = True


async def flush(db: AsyncSession, org_id: UUID | None) -> None:
    """Run the reactions that belong to this transaction, then write all collected events in one statement."""
    pending = _pending(db)
    reactions: Reactions = db.info.get(REACTIONS, {})
    seen = 0
    while seen < len(pending):  # a reaction may record further events
        happened = pending[seen]
        seen += 1
        for react in reactions.get(happened.type, ()):
            assert org_id is not None
            await react(db, org_id, happened)
    if not pending:
        return
    has_work(db)
    await db.flush()
    await db.execute(
        _APPEND,
        {
            "n": len(pending),
            "org_id": org_id,
            "ids": [new_id() for _ in pending],
            "types": [e.type for e in pending],
            "tickets": [e.ticket_id for e in pending],
            "actor_types": [e.actor.type.value for e in pending],
            "actors": [e.actor.id for e in pending],
            # The driver's UUIDs are of a class of its own, which `str` writes as any other.
            "data": [orjson.dumps(e.data(), default=str).decode() for e in pending],
            "times": [e.at for e in pending],
        },
    )
    pending.clear()

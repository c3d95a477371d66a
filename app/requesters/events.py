"""The events of requesters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.core.outbox.events import Event, Subject


@dataclass(frozen=True, kw_only=True)
class RequesterEvent(Event):
    """The base of events about a requester."""

    requester_id: Subject


@dataclass(frozen=True, kw_only=True)
class RequesterErased(RequesterEvent):
    """The personal data of the requester was deleted."""

    type: ClassVar[str] = "requester.erased"


@dataclass(frozen=True, kw_only=True)
class RequesterUpdated(RequesterEvent):
    """Fields of the requester changed. `fields` has their names, not the values."""

    type: ClassVar[str] = "requester.updated"
    fields: Annotated[tuple[str, ...], Field(description="The names of the changed fields.")]


@dataclass(frozen=True, kw_only=True)
class RequesterMerged(RequesterEvent):
    """The requester was merged into another one, who got the tickets."""

    type: ClassVar[str] = "requester.merged"
    into_requester_id: Annotated[UUID, Field(description="The id of the requester who got the tickets.")]

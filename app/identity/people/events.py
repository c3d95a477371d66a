"""What happens to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Event


@dataclass(frozen=True, kw_only=True)
class PersonSignedUp(Event):
    """Somebody joined the organisation."""

    type: ClassVar[str] = "person.signed_up"

    person_id: UUID
    role: str
    status: str


@dataclass(frozen=True, kw_only=True)
class PersonUpdated(Event):
    """Their profile changed: the names of the fields only, since what they say is personal."""

    type: ClassVar[str] = "person.updated"

    person_id: UUID
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class PersonBecameAvailable(Event):
    """New tickets may go to them from now on."""

    type: ClassVar[str] = "person.became_available"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonBecameUnavailable(Event):
    """No new tickets go to them."""

    type: ClassVar[str] = "person.became_unavailable"

    person_id: UUID

"""The events of requesters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from app.core.outbox.events import Event, Subject


@dataclass(frozen=True, kw_only=True)
class RequesterEvent(Event):
    """The base of events about a requester."""

    requester_id: Subject


@dataclass(frozen=True, kw_only=True)
class RequesterErased(RequesterEvent):
    """The personal data of the requester was deleted."""

    type: ClassVar[str] = "requester.erased"

"""What happens to an organisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class OrganisationSignedUp(Event):
    """A new tenant."""

    type: ClassVar[str] = "organisation.signed_up"


@dataclass(frozen=True, kw_only=True)
class OrganisationUpdated(Event):
    """Settings changed: `{field: {from, to}}`."""

    type: ClassVar[str] = "organisation.updated"

    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClockAdvanced(Event):
    """A sandbox's clock was moved forward by so many seconds."""

    type: ClassVar[str] = "organisation.clock_advanced"

    seconds: int

"""The events of organisations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class OrganisationSignedUp(Event):
    """The organisation signed up. This is always its first event."""

    type: ClassVar[str] = "organisation.signed_up"


@dataclass(frozen=True, kw_only=True)
class OrganisationUpdated(Event):
    """Settings changed: `{field: {from, to}}`. The values are of the settings' types."""

    type: ClassVar[str] = "organisation.updated"

    changes: Annotated[
        dict[str, dict[str, Any]], Field(description="The settings that changed: `{field: {from, to}}`.")
    ]


@dataclass(frozen=True, kw_only=True)
class ClockAdvanced(Event):
    """The clock of a sandbox was moved forward by this many seconds."""

    type: ClassVar[str] = "organisation.clock_advanced"

    seconds: Annotated[int, Field(description="By how much the clock was moved.")]

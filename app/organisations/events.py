"""The events of organisations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from app.core.outbox.events import Event, ReactionOnly


@dataclass(frozen=True, kw_only=True)
class OrganisationSignedUp(Event):
    """The organisation signed up. This is always its first event."""

    type: ClassVar[str] = "organisation.signed_up"


@dataclass(frozen=True, kw_only=True)
class OrganisationUpdated(Event):
    """Settings changed: `{field: {from, to}}`. The values are of the settings' types.

    The stored event lacks the client that changed them.
    """

    type: ClassVar[str] = "organisation.updated"

    changes: Annotated[
        dict[str, dict[str, Any]], Field(description="The settings that changed: `{field: {from, to}}`.")
    ]
    client: ReactionOnly[str]


class ProofMethod(StrEnum):
    """How an organisation proves that a domain is its own."""

    DNS = "DNS"  # by a TXT record
    EMAIL = "EMAIL"  # by a link that is mailed to the domain's postmaster and admin


@dataclass(frozen=True, kw_only=True)
class OrganisationDomainVerified(Event):
    """The organisation proved that a domain is its own. It is the organisation's domain from now on.

    The stored event lacks the client that sent the proof.
    """

    type: ClassVar[str] = "organisation.domain_verified"

    domain: Annotated[str, Field(description="The domain.")]
    method: Annotated[ProofMethod, Field(description="How it was proved.")]
    previous_domain: Annotated[str, Field(description="The organisation's domain before; may be the same.")]
    client: ReactionOnly[str]


@dataclass(frozen=True, kw_only=True)
class OrganisationDomainLost(Event):
    """Another organisation proved that the domain is its own. This organisation had not, and got a placeholder."""

    type: ClassVar[str] = "organisation.domain_lost"

    domain: Annotated[str, Field(description="The domain that the organisation had.")]
    new_domain: Annotated[str, Field(description="The placeholder that it has now.")]


@dataclass(frozen=True, kw_only=True)
class ClockAdvanced(Event):
    """The clock of a sandbox was moved forward by this many seconds."""

    type: ClassVar[str] = "organisation.clock_advanced"

    seconds: Annotated[int, Field(description="By how much the clock was moved.")]

"""The organisation of a request or a job, with the settings that rules read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.core.clock import real_now

_NOT_ALPHANUMERIC = re.compile(r"[^A-Z0-9]")
MAX_PREFIX_LENGTH = 10


@dataclass(frozen=True)
class Tenant:
    """A snapshot of an organisation's settings."""

    id: UUID
    name: str
    domain: str
    sandbox: bool
    clock_offset: timedelta
    auto_close_days: int
    timezone: str
    support_email: str | None
    app_url: str | None = None
    require_2fa: bool = False

    def now(self) -> datetime:
        """Return the organisation's time."""
        return real_now() + self.clock_offset

    def real_time(self, organisation_time: datetime) -> datetime:
        """Convert a time of the organisation's clock to real time."""
        return organisation_time - self.clock_offset

    def organisation_time(self, real_time: datetime) -> datetime:
        """Convert a real time to the organisation's clock."""
        return real_time + self.clock_offset

    def reference(self, number: int) -> str:
        """Write a ticket's number as users write it, such as `GROWFIN-42`."""
        return f"{reference_prefix(self.domain)}-{number}"


def reference_prefix(domain: str) -> str:
    """Make the first part of ticket references from a domain's first label: capitals and digits, at most ten."""
    label = domain.partition(".")[0].upper()
    return _NOT_ALPHANUMERIC.sub("", label)[:MAX_PREFIX_LENGTH] or "T"

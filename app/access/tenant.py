"""The organisation that a request or a job acts in, as much of it as every rule may need."""

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
    """An organisation's settings at a moment."""

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
        """The organisation's time."""
        return real_now() + self.clock_offset

    def real_time(self, organisation_time: datetime) -> datetime:
        """When a moment of the organisation's clock comes in real time."""
        return organisation_time - self.clock_offset

    def organisation_time(self, real_time: datetime) -> datetime:
        """What the organisation's clock shows at a real moment."""
        return real_time + self.clock_offset

    def reference(self, number: int) -> str:
        """A ticket's number as users say it, such as `GROWFIN-42`."""
        return f"{reference_prefix(self.domain)}-{number}"


def reference_prefix(domain: str) -> str:
    """The first label of a domain as the start of a ticket's reference: capitals and digits, at most ten."""
    label = domain.partition(".")[0].upper()
    return _NOT_ALPHANUMERIC.sub("", label)[:MAX_PREFIX_LENGTH] or "T"

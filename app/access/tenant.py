"""The organisation of a request or a job, with the settings that rules read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.core.clock import real_now


@dataclass(frozen=True)
class Tenant:
    """A snapshot of an organisation's settings.

    `reference_prefix` is `None` unless the domain has changed: see `tickets/references.py`. `ticket_path` is the page
    of a ticket in the organisation's front end, below `app_url`.
    """

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
    app_origin: str | None = None
    allowed_origins: Sequence[str] = ()
    reference_prefix: str | None = None
    ticket_path: str = "/tickets/{id}"

    def allows_origin(self, origin: str) -> bool:
        """Return whether browsers of this origin may read responses to the organisation's callers."""
        return origin == self.app_origin or origin in self.allowed_origins

    def now(self) -> datetime:
        """Return the organisation's time."""
        return real_now() + self.clock_offset

    def real_time(self, organisation_time: datetime) -> datetime:
        """Convert a time of the organisation's clock to real time."""
        return organisation_time - self.clock_offset

    def organisation_time(self, real_time: datetime) -> datetime:
        """Convert a real time to the organisation's clock."""
        return real_time + self.clock_offset

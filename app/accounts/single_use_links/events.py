"""What happens to links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class LinkRequested(Event):
    """A link is to be mailed to somebody. The ids alone lead nowhere: its token takes the secret key."""

    type: ClassVar[str] = "user.link_requested"

    user_id: UUID
    link_id: UUID
    purpose: str

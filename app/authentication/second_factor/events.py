"""What happens to second factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class SecondFactorEnabled(Event):
    """From now on a code is asked for as well."""

    type: ClassVar[str] = "user.second_factor_enabled"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class SecondFactorDisabled(Event):
    """The password is enough again."""

    type: ClassVar[str] = "user.second_factor_disabled"

    user_id: UUID

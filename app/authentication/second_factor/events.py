"""Events of second factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from app.accounts.users.events import UserEvent


@dataclass(frozen=True, kw_only=True)
class SecondFactorEnabled(UserEvent):
    """Signing in requires a code from now on."""

    type: ClassVar[str] = "user.second_factor_enabled"


@dataclass(frozen=True, kw_only=True)
class SecondFactorDisabled(UserEvent):
    """Signing in no longer requires a code."""

    type: ClassVar[str] = "user.second_factor_disabled"

"""Events of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.accounts.users.events import UserEvent


@dataclass(frozen=True, kw_only=True)
class SessionRevoked(UserEvent):
    """A refresh token was used twice. It may have been stolen, so its session has ended."""

    type: ClassVar[str] = "user.session_revoked"

    session_id: Annotated[UUID, Field(description="The session that has ended.")]

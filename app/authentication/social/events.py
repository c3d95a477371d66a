"""Events of links between users and their accounts at providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from app.accounts.users.events import UserEvent


@dataclass(frozen=True, kw_only=True)
class IdentityLinked(UserEvent):
    """The user can sign in with an account at this provider from now on."""

    type: ClassVar[str] = "user.identity_linked"

    provider: Annotated[str, Field(description="The name of the provider.")]

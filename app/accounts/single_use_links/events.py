"""The events of single-use links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.accounts.single_use_links.models import LinkPurpose
from app.core.outbox.events import Event, Subject


@dataclass(frozen=True, kw_only=True)
class LinkRequested(Event):
    """A link is to be mailed to a user. The ids alone do not reveal its token."""

    type: ClassVar[str] = "user.link_requested"

    user_id: Subject
    link_id: Annotated[UUID, Field(description="The id of the link.")]
    purpose: Annotated[LinkPurpose, Field(description="What the link is for.")]

"""What crosses the wire about invitations."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator

from app.access.permissions import RoleKind
from app.accounts.single_use_links.models import Link
from app.accounts.single_use_links.schemas import LinkToken
from app.accounts.users.fields import EmailField, FirstName, LastName, NewPassword, UserFields, fields_of
from app.accounts.users.models import User
from app.core.fields import In, OutTime


class InvitationIn(In):
    """Whom to invite, and which role they are to have: either a built-in one by `role`, or any by `roleId`."""

    first_name: Annotated[FirstName, Field(examples=["Bo"])]
    last_name: Annotated[LastName, Field(examples=["Ek"])]
    email: Annotated[EmailField, Field(examples=["bo@growfin.com"])]
    role: Annotated[RoleKind, Field(description="A built-in role.", examples=["ENGINEER"])] = None  # type: ignore[assignment]
    role_id: Annotated[UUID, Field(description="A role, built in or the organisation's own.")] = None  # type: ignore[assignment]

    @model_validator(mode="after")
    def _has_one_role(self) -> Self:
        if len(self.model_fields_set & {"role", "role_id"}) != 1:
            raise ValueError("Exactly one of role and roleId is needed.")
        return self


class InvitedOut(UserFields):
    """Somebody who has been invited."""

    invitation_expires_at: Annotated[OutTime, Field(description="Until then the mailed link can be used.")]

    @classmethod
    def of_invitation(cls, user: User, link: Link) -> Self:
        """The answer about this row, which was read with its role, and the link that was sent last."""
        return cls(**fields_of(user), invitation_expires_at=link.expires_at)


class Acceptance(In):
    """What an invitation is accepted with."""

    token: LinkToken
    password: NewPassword

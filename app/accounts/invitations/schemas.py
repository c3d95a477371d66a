"""Define the requests and responses about invitations."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import MISSING, Field, ValidationInfo, field_validator

from app.access.user_permissions import RoleKind
from app.accounts.single_use_links.models import Link
from app.accounts.single_use_links.schemas import LinkToken
from app.accounts.users import models
from app.accounts.users.fields import EmailField, FirstName, LastName, NewPassword
from app.accounts.users.schemas import User, user_fields
from app.core.fields import RequestModel, UtcTimestamp


class InvitationCreate(RequestModel):
    """The user to invite, with exactly one of `role` and `roleId`."""

    first_name: Annotated[FirstName, Field(examples=["Bo"])]
    last_name: Annotated[LastName, Field(examples=["Ek"])] = ""
    email: Annotated[EmailField, Field(examples=["bo@growfin.com"])]
    role: Annotated[
        RoleKind | MISSING, Field(description="Gives the built-in role of this kind.", examples=["ENGINEER"])
    ] = MISSING
    role_id: Annotated[
        UUID | MISSING,
        Field(description="The id of a role, built-in or the organisation's own.", validate_default=True),
    ] = MISSING

    @field_validator("role_id")
    @classmethod
    def _require_one_role(cls, role_id: UUID | MISSING, info: ValidationInfo) -> UUID | MISSING:
        # A role that is not valid is a fault of its own.
        if "role" in info.data and (info.data["role"] is MISSING) == (role_id is MISSING):
            raise ValueError("Exactly one of role and roleId is needed.")
        return role_id


class InvitedUser(User):
    """A user who has been invited."""

    invitation_expires_at: Annotated[UtcTimestamp, Field(description="When the mailed link expires.")]

    @classmethod
    def of_invitation(cls, row: models.User, link: Link) -> Self:
        """Make the response from a row whose `role` is loaded, and the link that was mailed last."""
        return cls(**user_fields(row), invitation_expires_at=link.expires_at)


class InvitationAcceptance(RequestModel):
    """The token of an invitation, and the password of the new account."""

    token: LinkToken
    password: NewPassword

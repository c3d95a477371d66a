"""Define the requests that sign users up."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.access.operation_requirements import BodySecret
from app.access.user_permissions import RoleKind
from app.accounts.users.fields import EmailField, FirstName, LastName, NewPassword
from app.core.email_addresses import Domain
from app.core.fields import RequestModel


class AdminSignUpRequest(RequestModel):
    """A new admin of the organisation that the secret key belongs to."""

    first_name: FirstName
    last_name: LastName = ""
    email: EmailField
    password: NewPassword
    secret: BodySecret = None


class SignUpRequest(RequestModel):
    """A new account in an organisation, requested by its future user."""

    org: Annotated[Domain, Field(description="The organisation's domain.", examples=["growfin.com"])]
    role: Annotated[
        RoleKind,
        Field(
            description="The kind of role. A customer's account is active at once; an admin must approve the others.",
            examples=["CUSTOMER"],
        ),
    ] = RoleKind.CUSTOMER
    first_name: Annotated[FirstName, Field(examples=["Mia"])]
    last_name: Annotated[LastName, Field(examples=["Holm"])] = ""
    email: Annotated[EmailField, Field(examples=["mia@customer.example"])]
    password: NewPassword

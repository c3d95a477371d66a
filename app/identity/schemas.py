"""What crosses the wire about people."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StringConstraints

from app.core.fields import Domain, Email, In, Name, Out, OutTime, SecretField, refuse_control_characters
from app.core.security import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from app.identity.models import Person

FirstName = Annotated[Name, Field(examples=["Ada"])]
LastName = Annotated[Name, Field(examples=["Lovelace"])]
EmailField = Annotated[Email, Field(description="In any case; kept in lower case.", examples=["ada@growfin.com"])]
# Spaces around a password are part of it.
NewPassword = Annotated[
    str,
    StringConstraints(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH),
    AfterValidator(refuse_control_characters),
    Field(description="Common ones are refused.", examples=["cobalt-heron-47-lamp"]),
]


class AdminSignUp(In):
    """A new admin of the secret's organisation."""

    first_name: FirstName
    last_name: LastName
    email: EmailField
    password: NewPassword
    secret: SecretField = None


class SignIn(In):
    """An e-mail and its password."""

    email: EmailField
    password: Annotated[str, Field(min_length=1, max_length=1024, examples=["cobalt-heron-47-lamp"])]
    org: Annotated[
        Domain | None,
        Field(description="The organisation's domain; needed only where e-mail and password fit two."),
    ] = None


class ProfileChange(In):
    """Any of these."""

    first_name: FirstName = None  # type: ignore[assignment]
    last_name: LastName = None  # type: ignore[assignment]
    available: Annotated[
        StrictBool, Field(description="Whether new tickets may be assigned to you.", examples=[True])
    ] = None  # type: ignore[assignment]


class PersonOut(Out):
    """Somebody of an organisation."""

    id: UUID
    org_id: UUID
    first_name: Annotated[str, Field(examples=["Ada"])]
    last_name: Annotated[str, Field(examples=["Lovelace"])]
    email: Annotated[str, Field(examples=["ada@growfin.com"])]
    role: Literal["ADMIN"]
    status: Literal["ACTIVE", "SUSPENDED"]
    available: bool
    created_at: OutTime

    @classmethod
    def of(cls, person: Person) -> Self:
        """The answer about this row."""
        return cls.model_validate(person, from_attributes=True)


class SignedIn(Out):
    """An access token and its person. `jwt` and `accessToken` are the same token."""

    jwt: Annotated[str, Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"])]
    access_token: Annotated[str, Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"])]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a name
    expires_in: Annotated[int, Field(description="Seconds.", examples=[1800])]
    user: PersonOut

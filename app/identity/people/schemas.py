"""What crosses the wire about people."""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.core.fields import EXAMPLE_ID, Domain, Email, In, Name, Out, OutTime, SecretField, refuse_control_characters
from app.core.security import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from app.identity.people.models import Person, Status
from app.organisations.permissions import Role

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


class SignUp(In):
    """A new account, of whoever asks for one."""

    org: Annotated[Domain, Field(description="The organisation's domain.", examples=["growfin.com"])]
    role: Annotated[
        Role, Field(description="What to be. A customer can act at once; others once approved.", examples=["CUSTOMER"])
    ] = Role.CUSTOMER
    first_name: FirstName
    last_name: LastName
    email: EmailField
    password: NewPassword


class PersonOut(Out):
    """Somebody of an organisation."""

    id: UUID
    org_id: UUID
    first_name: Annotated[str, Field(examples=["Ada"])]
    last_name: Annotated[str, Field(examples=["Lovelace"])]
    email: Annotated[str, Field(examples=["ada@growfin.com"])]
    role: Annotated[Role, Field(examples=["ADMIN"])]
    role_id: Annotated[UUID, Field(description="The role, built in or the organisation's own.", examples=[EXAMPLE_ID])]
    designation: Annotated[str, Field(description="The role's name.", examples=["Admin"])]
    status: Annotated[Status, Field(examples=["ACTIVE"])]
    available: bool
    email_verified: bool
    second_factor: bool
    created_at: OutTime

    @classmethod
    def of(cls, person: Person) -> Self:
        """The answer about this row, which was read with its role."""
        return cls(**fields_of(person))


def fields_of(person: Person) -> dict[str, Any]:
    """What every answer about somebody says."""
    return {
        "id": person.id,
        "org_id": person.org_id,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "role": person.role,
        "role_id": person.of_role,
        "designation": person.designation,
        "status": person.status,
        "available": person.available,
        "email_verified": person.email_verified_at is not None,
        "second_factor": person.second_factor,
        "created_at": person.created_at,
    }

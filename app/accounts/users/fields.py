"""What crosses the wire about users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.access.permissions import Role
from app.accounts.users.models import User
from app.accounts.users.rules import UserStatus
from app.core.fields import EXAMPLE_ID, Domain, Email, In, Name, Out, OutTime, SecretField, refuse_control_characters
from app.core.security.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

FirstName = Annotated[Name, Field(examples=["Ada"])]
LastName = Annotated[Name, Field(examples=["Lovelace"])]
EmailField = Annotated[Email, Field(description="In any case; kept in lower case.", examples=["ada@growfin.com"])]
EXAMPLE_PASSWORD = "cobalt-heron-47-lamp"  # noqa: S105 - nobody's
# Spaces around a password are part of it.
NewPassword = Annotated[
    str,
    StringConstraints(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH),
    AfterValidator(refuse_control_characters),
    Field(description="Common ones are refused.", examples=[EXAMPLE_PASSWORD]),
]
PresentPassword = Annotated[str, Field(min_length=1, max_length=1024, examples=[EXAMPLE_PASSWORD])]


# Examples of users, as answers show them: an engineer and a customer, where it is not Ada, the admin.
BO: Mapping[str, Any] = {
    "firstName": "Bo",
    "lastName": "Ek",
    "email": "bo@growfin.com",
    "role": "ENGINEER",
    "roleId": "00000000-0000-7000-8000-000000000002",
    "designation": "Engineer",
    "secondFactor": False,
}
MIA: Mapping[str, Any] = {
    "firstName": "Mia",
    "lastName": "Holm",
    "email": "mia@customer.example",
    "role": "CUSTOMER",
    "roleId": "00000000-0000-7000-8000-000000000003",
    "designation": "Customer",
    "available": False,
    "secondFactor": False,
}


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
    first_name: Annotated[FirstName, Field(examples=["Mia"])]
    last_name: Annotated[LastName, Field(examples=["Holm"])]
    email: Annotated[EmailField, Field(examples=["mia@customer.example"])]
    password: NewPassword


class UserFields(Out):
    """Somebody of an organisation."""

    id: UUID
    org_id: UUID
    first_name: Annotated[str, Field(examples=["Ada"])]
    last_name: Annotated[str, Field(examples=["Lovelace"])]
    email: Annotated[str, Field(examples=["ada@growfin.com"])]
    role: Annotated[Role, Field(description="What they are to the organisation.", examples=["ADMIN"])]
    role_id: Annotated[UUID, Field(description="The role, built in or the organisation's own.", examples=[EXAMPLE_ID])]
    designation: Annotated[str, Field(description="The role's name.", examples=["Admin"])]
    status: Annotated[
        UserStatus,
        Field(
            description="Only who is `ACTIVE` can sign in. `PENDING` waits for an admin's approval, `INVITED` for its "
            "user to accept.",
            examples=["ACTIVE"],
        ),
    ]
    available: Annotated[
        bool,
        Field(
            description="Their own switch: whether they want new tickets. It counts while they are active and may see "
            "and change tickets."
        ),
    ]
    email_verified: Annotated[bool, Field(description="Whether they have proved that the e-mail is theirs.")]
    second_factor: Annotated[bool, Field(description="Whether signing in takes a code of their authenticator, too.")]
    picture_url: Annotated[str | None, Field(description="Null for none.", examples=[f"/users/{EXAMPLE_ID}/picture"])]
    created_at: OutTime

    @classmethod
    def of(cls, user: User) -> Self:
        """The answer about this row, which was read with its role."""
        return cls(**fields_of(user))


def fields_of(user: User) -> dict[str, Any]:
    """What every answer about somebody says."""
    return {
        "id": user.id,
        "org_id": user.org_id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "role": user.role,
        "role_id": user.effective_role_id,
        "designation": user.designation,
        "status": user.status,
        "available": user.available,
        "email_verified": user.email_verified_at is not None,
        "second_factor": user.second_factor,
        "picture_url": user.picture_url,
        "created_at": user.created_at,
    }

"""Define the fields of users that several schemas share."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from app.accounts.roles.rules import ENGINEER
from app.accounts.users import rules
from app.core.email_addresses import Email, KnownEmail
from app.core.fields import Name, OptionalName
from app.core.security.password_preparation import prepare_new_password
from app.core.security.password_strength import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

FirstName = Annotated[
    Name, AfterValidator(rules.refuse_url_as_name), Field(description="The user's first name.", examples=["Ada"])
]
LastName = Annotated[
    OptionalName,
    AfterValidator(rules.refuse_url_as_name),
    Field(description="The user's last name; empty for a user with one name.", examples=["Lovelace"]),
]
EmailField = Annotated[
    Email,
    Field(
        description="An e-mail address in any case; stored in lower case, with full-width characters as usual ones. "
        "One whose letters look like others, such as a dotless i, is refused.",
        examples=["ada@growfin.com"],
    ),
]
# To sign in, and to find accounts.
KnownEmailField = Annotated[
    KnownEmail,
    Field(description="An e-mail address in any case.", examples=["ada@growfin.com"]),
]
EXAMPLE_PASSWORD = "cobalt-heron-47-lamp"  # noqa: S105 - of the documentation
# Spaces at the start and end are part of the password. The length is that of the prepared form.
NewPassword = Annotated[
    str,
    StringConstraints(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH),
    BeforeValidator(prepare_new_password),
    Field(
        description="The new password. Common passwords are refused. Spaces of all kinds are the same, and so are "
        "composed and decomposed characters (RFC 8265).",
        examples=[EXAMPLE_PASSWORD],
    ),
]
CurrentPassword = Annotated[
    str,
    Field(min_length=1, max_length=1024, description="The account's current password.", examples=[EXAMPLE_PASSWORD]),
]

# In responses.
RoleId = Annotated[
    UUID,
    Field(description="The id of the user's role, built-in or the organisation's own.", examples=[str(ENGINEER.id)]),
]
Designation = Annotated[str, Field(description="The name of the user's role.", examples=["Admin"])]
Bio = Annotated[
    str | None, Field(description="A text of the user about themselves.", examples=["I look after payments."])
]
TimeZoneOfUser = Annotated[
    str | None, Field(description="The user's time zone (IANA); null if not set.", examples=["Europe/Berlin"])
]
LocaleOfUser = Annotated[
    str | None, Field(description="The user's language (BCP 47); null if not set.", examples=["en-GB"])
]

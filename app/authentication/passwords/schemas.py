"""What crosses the wire to get back into an account."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.accounts.single_use_links.schemas import LinkToken
from app.accounts.users.fields import EXAMPLE_PASSWORD, EmailField, NewPassword, PresentPassword
from app.core.fields import Domain, In, Out


class AccountOf(In):
    """An e-mail, and the organisation if only its account is meant."""

    email: EmailField
    org: Annotated[
        Domain | None,
        Field(description="The organisation's domain; without it, every account of the e-mail is meant, up to ten."),
    ] = None


class PasswordReset(In):
    """A link's token and a new password."""

    token: LinkToken
    new_password: NewPassword


class PasswordChange(In):
    """The present password and a new one."""

    current_password: PresentPassword
    new_password: Annotated[NewPassword, Field(examples=["amber-otter-58-desk"])]


class EmailProof(In):
    """A link's token."""

    token: LinkToken


class EmailChange(In):
    """The address that is to be yours, and your password."""

    email: Annotated[EmailField, Field(examples=["ada.lovelace@growfin.com"])]
    password: Annotated[
        PresentPassword | None, Field(description="Needed unless the account has none.", examples=[EXAMPLE_PASSWORD])
    ] = None


class PerhapsMailed(Out):
    """The same answer whether or not there is anybody to write to."""

    message: Literal["If there is such an account, a mail is on its way."] = (
        "If there is such an account, a mail is on its way."
    )


class EmailChangeRequested(Out):
    """The same answer whoever has the address."""

    message: Literal["Follow the link in the mail to the new address: until then, nothing changes."] = (
        "Follow the link in the mail to the new address: until then, nothing changes."
    )


class EmailProved(Out):
    """The address that is now known to be its user's."""

    email: Annotated[str, Field(examples=["ada@growfin.com"])]
    verified: Literal[True] = True

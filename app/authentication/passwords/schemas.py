"""Define the requests and responses about passwords and e-mail addresses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.accounts.single_use_links.schemas import LinkToken
from app.accounts.users.fields import EXAMPLE_PASSWORD, CurrentPassword, EmailField, NewPassword
from app.core.fields import Domain, RequestModel, ResponseModel


class _AccountSearch(RequestModel):
    email: EmailField
    org: Annotated[
        Domain | None,
        Field(
            description="The domain of an organisation. Without it, the request applies to up to ten accounts with "
            "this e-mail address, in all organisations."
        ),
    ] = None


class PasswordResetRequest(_AccountSearch):
    """The accounts to mail a link to that resets the password."""


class VerificationMailRequest(_AccountSearch):
    """The accounts to mail a link to that verifies the e-mail address."""


class PasswordReset(RequestModel):
    """The token of a mailed link, and the new password."""

    token: LinkToken
    new_password: NewPassword


class PasswordChange(RequestModel):
    """The current password and the new one."""

    current_password: CurrentPassword
    new_password: Annotated[NewPassword, Field(examples=["amber-otter-58-desk"])]


class EmailVerification(RequestModel):
    """The token of a mailed link."""

    token: LinkToken


class EmailChangeRequest(RequestModel):
    """The new e-mail address, and the password as proof."""

    email: Annotated[EmailField, Field(examples=["ada.lovelace@growfin.com"])]
    password: Annotated[
        CurrentPassword | None,
        Field(
            description="The account's current password. Required unless the account has none.",
            examples=[EXAMPLE_PASSWORD],
        ),
    ] = None


class MailRequestAccepted(ResponseModel):
    """The request was accepted. The response deliberately does not say whether there is such an account."""

    message: Annotated[
        Literal["If there is such an account, a mail is on its way."], Field(description="A sentence to show the user.")
    ] = "If there is such an account, a mail is on its way."


class EmailChangeAccepted(ResponseModel):
    """The request was accepted. The response deliberately does not say whether another account has the address."""

    message: Annotated[
        Literal["Follow the link in the mail to the new address: until then, nothing changes."],
        Field(description="A sentence to show the user."),
    ] = "Follow the link in the mail to the new address: until then, nothing changes."


class VerifiedEmail(ResponseModel):
    """The e-mail address that the user has proved to be theirs."""

    email: Annotated[str, Field(description="The verified e-mail address.", examples=["ada@growfin.com"])]
    verified: Annotated[Literal[True], Field(description="Always true.")] = True

"""Define the requests and responses about e-mail addresses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.accounts.single_use_links.schemas import LinkToken
from app.accounts.users.fields import EXAMPLE_PASSWORD, CurrentPassword, EmailField
from app.authentication.schemas import AccountSelector
from app.core.fields import RequestModel, ResponseModel


class VerificationMailRequest(AccountSelector):
    """The accounts to mail a verification link to."""


class EmailVerification(RequestModel):
    """The token of a mailed link."""

    token: LinkToken


class VerifiedEmail(ResponseModel):
    """The e-mail address that the user has verified."""

    email: Annotated[str, Field(description="The verified e-mail address.", examples=["ada@growfin.com"])]
    verified: Annotated[Literal[True], Field(description="Always true.")] = True


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


class EmailChangeAccepted(ResponseModel):
    """The request was accepted. The response deliberately does not say whether another account has the address."""

    message: Annotated[
        Literal["Follow the link in the mail to the new address: until then, nothing changes."],
        Field(description="A sentence to show the user."),
    ] = "Follow the link in the mail to the new address: until then, nothing changes."

"""Define the requests and responses about e-mail addresses."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import MISSING, Field

from app.accounts.single_use_links.schemas import LinkToken
from app.accounts.users.fields import EXAMPLE_PASSWORD, CurrentPassword, EmailField
from app.authentication.email_addresses.service import LinkedAccount
from app.authentication.schemas import AccountSelector
from app.core.fields import EXAMPLE_ID, RequestModel, ResponseModel, UtcTimestamp


class VerificationMailRequest(AccountSelector):
    """The accounts to mail a verification link to."""


class EmailLinkToken(RequestModel):
    """The token of a mailed link."""

    token: LinkToken


class EmailVerification(RequestModel):
    """The token of a mailed link, and the account that its reader has confirmed to be theirs."""

    token: LinkToken
    account: Annotated[
        UUID | MISSING,
        Field(
            description="The `account` of `POST /auth/email/lookup`, once the user has confirmed that it is theirs. "
            "Required if the organisation has an `appUrl`, because links then lead to its own pages.",
            examples=[EXAMPLE_ID],
        ),
    ] = MISSING


class AccountOfLink(ResponseModel):
    """The account that the address will belong to. Show it to the user, and ask whether it is theirs."""

    account: Annotated[
        UUID, Field(description="The account's id, for `POST /auth/email/verify`.", examples=[EXAMPLE_ID])
    ]
    name: Annotated[str, Field(description="The name that was given at the sign-up.", examples=["Mia Holm"])]
    email: Annotated[str, Field(description="The address to verify.", examples=["mia@customer.example"])]
    organisation: Annotated[str, Field(description="The organisation's name.", examples=["Growfin"])]
    domain: Annotated[str, Field(description="The organisation's domain.", examples=["growfin.com"])]
    requested_at: Annotated[UtcTimestamp, Field(description="When the link was requested, by a sign-up say.")]
    requested_from: Annotated[
        str | None, Field(description="The IP address that it was requested from, if known.", examples=["198.51.100.7"])
    ]

    @classmethod
    def of(cls, found: LinkedAccount) -> Self:
        """Make the response about a link's account."""
        return cls(
            account=found.user.id,
            name=found.user.full_name,
            email=found.link.email,
            organisation=found.tenant.name,
            domain=found.tenant.domain,
            requested_at=found.link.created_at,
            requested_from=found.link.requested_from,
        )


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

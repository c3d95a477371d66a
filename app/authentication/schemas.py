"""Define the requests and responses that passwords and e-mail addresses have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.accounts.users.fields import KnownEmailField
from app.core.email_addresses import Domain
from app.core.fields import RequestModel, ResponseModel


class AccountSelector(RequestModel):
    """The accounts of an e-mail address: in one organisation, or in all."""

    email: KnownEmailField
    org: Annotated[
        Domain | None,
        Field(
            description="The domain of an organisation. Without it, the request applies to up to ten accounts with "
            "this e-mail address, in all organisations."
        ),
    ] = None


class MailRequestAccepted(ResponseModel):
    """The request was accepted. The response deliberately does not say whether there is such an account."""

    message: Annotated[
        Literal["If there is such an account, a mail is on its way."], Field(description="A sentence to show the user.")
    ] = "If there is such an account, a mail is on its way."

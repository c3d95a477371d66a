"""Define the requests about passwords."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.accounts.single_use_links.schemas import LinkToken
from app.accounts.users.fields import CurrentPassword, NewPassword
from app.authentication.schemas import AccountSelector
from app.core.fields import RequestModel


class PasswordResetRequest(AccountSelector):
    """The accounts to mail a password reset link to."""


class PasswordReset(RequestModel):
    """The token of a mailed link, and the new password."""

    token: LinkToken
    new_password: NewPassword


class PasswordChange(RequestModel):
    """The current password and the new one."""

    current_password: CurrentPassword
    new_password: Annotated[NewPassword, Field(examples=["amber-otter-58-desk"])]

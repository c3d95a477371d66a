"""Define the request and the response of a repeated authentication."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.accounts.users.fields import CurrentPassword
from app.authentication.second_factor.schemas import OptionalRecoveryCode, Totp
from app.core.fields import RequestModel, ResponseModel, UtcTimestamp


class Reauthentication(RequestModel):
    """The current password, with a code for users who have a second factor."""

    password: CurrentPassword
    totp: Totp = None
    recovery_code: OptionalRecoveryCode = None


class FreshSession(ResponseModel):
    """The session of the request, which is fresh now."""

    fresh_until: Annotated[
        UtcTimestamp, Field(description="Until when operations that require a fresh sign-in can be called.")
    ]

"""What crosses the wire about social sign-in."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictBool

from app.access.permissions import RoleKind
from app.accounts.single_use_links.schemas import LinkToken
from app.authentication.second_factor.schemas import OrRecoveryCode, Totp
from app.core.fields import Domain, In


class Begin(In):
    """Where to, and as whom, if they are new there."""

    org: Annotated[Domain, Field(description="The organisation's domain.", examples=["growfin.com"])]
    role: Annotated[
        RoleKind, Field(description="What somebody who is new becomes; all but customers wait for an admin's approval.")
    ] = RoleKind.CUSTOMER
    remember_me: Annotated[bool, Field(description="Stay signed in for 30 days instead of one.")] = False


class Answer(BaseModel):
    """What a provider sends somebody back with (RFC 6749, 4.1.2); whatever else it adds is ignored."""

    code: Annotated[
        str | None, Field(description="To be exchanged by us, once.", examples=["SplxlOBeZQQYbYS6WxSbIA"])
    ] = None
    state: Annotated[
        str | None, Field(description="What we sent along.", examples=["pX2h8oYbq0y1aTn3cV7kZr5mWd9eJs4u"])
    ] = None
    error: Annotated[str | None, Field(description="Why there is no code.", examples=["access_denied"])] = None
    iss: Annotated[
        str | None, Field(description="Who answers (RFC 9207).", examples=["https://accounts.google.com"])
    ] = None


class Exchange(In):
    """What the sign-in ended with, to be exchanged for tokens."""

    token: Annotated[
        LinkToken,
        Field(description="From the fragment of `{appUrl}/signed-in#token=…`, or the `exchangeToken` of a refusal."),
    ]
    remember_me: Annotated[
        StrictBool | None,
        Field(description="Stay signed in for 30 days, or (false) for one; otherwise as `…/start` was told."),
    ] = None
    totp: Totp = None
    recovery_code: OrRecoveryCode = None

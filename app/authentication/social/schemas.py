"""Define the parameters and requests of social sign-in."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictBool

from app.access.user_permissions import RoleKind
from app.accounts.single_use_links.schemas import LinkToken
from app.authentication.second_factor.schemas import OptionalRecoveryCode, Totp
from app.core.email_addresses import Domain
from app.core.fields import OptionalParameter, RequestModel


class StartSignIn(RequestModel):
    """The organisation to sign in to, and the kind of role for a new user."""

    org: Annotated[Domain, Field(description="The organisation's domain.", examples=["growfin.com"])]
    role: Annotated[
        RoleKind,
        Field(description="The kind of role of a new user. An admin must approve all but customers."),
    ] = RoleKind.CUSTOMER
    remember_me: Annotated[bool, Field(description="Stay signed in for 30 days instead of one.")] = False


class ProviderCallback(BaseModel):
    """The parameters that a provider sends the browser back with (RFC 6749, 4.1.2). Others are ignored."""

    code: Annotated[
        OptionalParameter[str],
        Field(description="A code that Tessera exchanges with the provider.", examples=["SplxlOBeZQQYbYS6WxSbIA"]),
    ] = None
    state: Annotated[
        OptionalParameter[str],
        Field(
            description="The state that Tessera sent to the provider.", examples=["pX2h8oYbq0y1aTn3cV7kZr5mWd9eJs4u"]
        ),
    ] = None
    error: Annotated[OptionalParameter[str], Field(description="Why there is no code.", examples=["access_denied"])] = (
        None
    )
    iss: Annotated[
        OptionalParameter[str],
        Field(description="The provider's issuer (RFC 9207).", examples=["https://accounts.google.com"]),
    ] = None


class SocialSignInExchange(RequestModel):
    """The token at the end of a social sign-in, to exchange for an access token."""

    token: Annotated[
        LinkToken,
        Field(description="From the fragment of `{appUrl}/signed-in#token=…`, or `exchangeToken` of a 401 problem."),
    ]
    remember_me: Annotated[
        StrictBool | None,
        Field(
            description="Stay signed in for 30 days (true) or one (false). If it is left out, the choice made at "
            "`…/start` applies."
        ),
    ] = None
    totp: Totp = None
    recovery_code: OptionalRecoveryCode = None

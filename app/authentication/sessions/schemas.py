"""Define the requests and responses about sessions and their tokens."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import MISSING, Field

from app.access.callers import Principal
from app.access.user_permissions import RoleKind
from app.authentication.sessions import models
from app.authentication.sessions.service import SessionTokens
from app.core.fields import DEPRECATED, EXAMPLE_ID, RequestModel, ResponseModel, UtcTimestamp
from app.core.security.access_tokens import ACCESS_TOKEN_LIFETIME, AccessClaims
from app.core.web.paging import CountedPage

_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"
_REFRESH_TOKEN = "trt_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLE"  # noqa: S105 - of the documentation


class TokenPair(ResponseModel):
    """An access token, and the refresh token that replaces it."""

    jwt: Annotated[str, Field(description="Use `accessToken`, which is the same.", examples=[_JWT]), DEPRECATED]
    access_token: Annotated[str, Field(description="For `Authorization: Bearer …`.", examples=[_JWT])]
    token_type: Annotated[Literal["Bearer"], Field(description="Always `Bearer`.")] = "Bearer"  # noqa: S105 - a name
    expires_in: Annotated[int, Field(description="Seconds until the access token expires.", examples=[1800])]
    refresh_token: Annotated[
        str, Field(description="For `POST /auth/refresh`. It can be used once.", examples=[_REFRESH_TOKEN])
    ]
    refresh_expires_in: Annotated[int, Field(description="Seconds until the refresh token expires.", examples=[86_400])]


def token_fields(tokens: SessionTokens) -> dict[str, object]:
    """Return the fields of a `TokenPair`."""
    session = tokens.session
    remaining = session.expires_at - session.last_used_at
    return {
        "jwt": tokens.access_token,
        "access_token": tokens.access_token,
        "expires_in": int(min(ACCESS_TOKEN_LIFETIME, remaining).total_seconds()),
        "refresh_token": tokens.refresh_token,
        "refresh_expires_in": int(remaining.total_seconds()),
    }


class TokenRefreshRequest(RequestModel):
    """The refresh token to exchange."""

    refresh_token: Annotated[
        str, Field(min_length=1, max_length=4096, description="The latest refresh token.", examples=[_REFRESH_TOKEN])
    ]


class SignOutRequest(RequestModel):
    """The session to end, for a client without a valid access token."""

    refresh_token: Annotated[
        str | MISSING,
        Field(
            min_length=1,
            max_length=4096,
            description="The refresh token of the session. Without it, the access token names the session.",
            examples=[_REFRESH_TOKEN],
        ),
    ] = MISSING


class TokenVerificationRequest(RequestModel):
    """The access token to verify."""

    token: Annotated[str, Field(min_length=1, max_length=4096, description="An access token.", examples=[_JWT])]


class TokenVerification(ResponseModel):
    """The claims of a valid access token (RFC 7519) and the current rights of its user.

    For an invalid token, the only field is `active: false`.
    """

    active: Annotated[bool, Field(description="Whether the token is valid now.", examples=[True])]
    token_type: Annotated[Literal["Bearer"] | MISSING, Field(description="Always `Bearer`.")] = MISSING
    sub: Annotated[UUID | MISSING, Field(description="The user's id.", examples=[EXAMPLE_ID])] = MISSING
    org: Annotated[UUID | MISSING, Field(description="The organisation's id.", examples=[EXAMPLE_ID])] = MISSING
    sid: Annotated[UUID | MISSING, Field(description="The session's id.", examples=[EXAMPLE_ID])] = MISSING
    role: Annotated[
        RoleKind | MISSING, Field(description="The current kind of the user's role.", examples=["ENGINEER"])
    ] = MISSING
    email: Annotated[
        str | MISSING, Field(description="The user's current e-mail address.", examples=["ada@growfin.com"])
    ] = MISSING
    permissions: Annotated[
        list[str] | MISSING, Field(description="The user's current permissions.", examples=[["tickets:view"]])
    ] = MISSING
    second_factor_required: Annotated[
        bool | MISSING,
        Field(description="Whether the user must set up a second factor before anything else.", examples=[False]),
    ] = MISSING
    iss: Annotated[str | MISSING, Field(description="The issuer.", examples=["tessera"])] = MISSING
    aud: Annotated[str | MISSING, Field(description="The audience.", examples=["tessera-api"])] = MISSING
    iat: Annotated[
        int | MISSING, Field(description="When it was issued: seconds since 1970.", examples=[1_772_443_800])
    ] = MISSING
    exp: Annotated[
        int | MISSING, Field(description="When it expires: seconds since 1970.", examples=[1_772_445_600])
    ] = MISSING
    jti: Annotated[str | MISSING, Field(description="The token's id.", examples=[EXAMPLE_ID])] = MISSING

    @classmethod
    def of(cls, claims: AccessClaims, user: Principal, *, second_factor_required: bool) -> Self:
        """Make the response about a valid token.

        Args:
            second_factor_required: Whether the user must set up a second factor before anything else.
        """
        registered = {name: claims.all[name] for name in ("sub", "org", "sid", "iss", "aud", "iat", "exp", "jti")}
        return cls(
            active=True,
            token_type="Bearer",  # noqa: S106 - a name
            role=user.role_kind,
            email=user.email,
            permissions=[] if second_factor_required else sorted(user.permissions),
            second_factor_required=second_factor_required,
            **registered,
        )


class Session(ResponseModel):
    """A session of the signed-in user."""

    id: Annotated[UUID, Field(description="The session's id.", examples=[EXAMPLE_ID])]
    device: Annotated[str, Field(description="The device's `User-Agent`.", examples=["Mozilla/5.0 (X11)"])]
    address: Annotated[str, Field(description="The IP address that used the session last.", examples=["198.51.100.7"])]
    current: Annotated[bool, Field(description="Whether this request belongs to the session.", examples=[True])]
    remember_me: Annotated[
        bool, Field(description="Whether the session lasts for 30 days after its last use instead of one.")
    ]
    created_at: Annotated[UtcTimestamp, Field(description="When the user signed in.")]
    last_used_at: Annotated[UtcTimestamp, Field(description="When the session was last refreshed, or when it began.")]
    expires_at: Annotated[
        UtcTimestamp,
        Field(
            description="When the session ends unless it is refreshed before. Refreshing extends it, but not beyond 90 "
            "days from `createdAt`, or what the operator has set."
        ),
    ]

    @classmethod
    def of(cls, row: models.Session, current: UUID | None) -> Self:
        """Make the response from a row.

        Args:
            current: The id of the session that the request belongs to.
        """
        return cls(
            id=row.id,
            device=row.device,
            address=row.address,
            current=row.id == current,
            remember_me=row.remembered,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            expires_at=row.expires_at,
        )


class SessionPage(CountedPage[Session]):
    """A page of sessions."""

"""What crosses the wire about sessions."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool

from app.core.fields import Domain, In, Out
from app.core.security import ACCESS_TOKEN_LIFETIME
from app.identity.people.schemas import EmailField, PersonOut
from app.identity.sessions import service

_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"
_REFRESH = "trt_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLE"

Totp = Annotated[str | None, Field(pattern=r"^[0-9]{6}$", description="The six digits that your authenticator shows.")]
RecoveryCodeField = Annotated[
    str | None, Field(min_length=1, max_length=40, description="One of the recovery codes, instead of `totp`.")
]


class SignIn(In):
    """An e-mail and its password."""

    email: EmailField
    password: Annotated[str, Field(min_length=1, max_length=1024, examples=["cobalt-heron-47-lamp"])]
    org: Annotated[
        Domain | None,
        Field(description="The organisation's domain; needed only where e-mail and password fit two."),
    ] = None
    remember_me: Annotated[StrictBool, Field(description="Stay signed in for 30 days instead of one.")] = False
    totp: Totp = None
    recovery_code: RecoveryCodeField = None


class Tokens(Out):
    """An access token, and the refresh token that gets the next one. `jwt` and `accessToken` are the same token."""

    jwt: Annotated[str, Field(examples=[_JWT])]
    access_token: Annotated[str, Field(examples=[_JWT])]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a name
    expires_in: Annotated[int, Field(description="Seconds.", examples=[1800])]
    refresh_token: Annotated[str, Field(description="For `POST /auth/refresh`, once.", examples=[_REFRESH])]
    refresh_expires_in: Annotated[int, Field(description="Seconds.", examples=[86_400])]

    @classmethod
    def of(cls, signed_in: service.SignedIn) -> Self:
        """The answer to somebody who has just signed in."""
        return cls(**tokens_of(signed_in))


class SignedIn(Tokens):
    """The tokens, their person, and what an organisation's own front end needs to know of them."""

    user: PersonOut
    designation: Annotated[str, Field(description="The role's name.", examples=["Admin"])]
    session_time_in_minutes: Annotated[
        int, Field(description="How long the session lasts from its last use.", examples=[1440])
    ]

    @classmethod
    def of(cls, signed_in: service.SignedIn) -> Self:
        """The answer to somebody who has just signed in."""
        lifetime = service.lifetime(remembered=signed_in.session.remembered)
        return cls(
            **tokens_of(signed_in),
            user=PersonOut.of(signed_in.person),
            designation=signed_in.person.designation,
            session_time_in_minutes=int(lifetime.total_seconds()) // 60,
        )


def tokens_of(signed_in: service.SignedIn) -> dict[str, object]:
    """The fields of `Tokens`."""
    return {
        "jwt": signed_in.access_token,
        "access_token": signed_in.access_token,
        "expires_in": int(ACCESS_TOKEN_LIFETIME.total_seconds()),
        "refresh_token": signed_in.refresh_token,
        "refresh_expires_in": int(service.lifetime(remembered=signed_in.session.remembered).total_seconds()),
    }

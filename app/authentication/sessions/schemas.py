"""What crosses the wire about sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, StrictBool

from app.access.callers import Principal
from app.access.permissions import Role
from app.accounts.users.fields import EmailField, PresentPassword, UserFields
from app.authentication.second_factor.schemas import OrRecoveryCode, Totp
from app.authentication.sessions import service
from app.authentication.sessions.models import Session
from app.core.fields import EXAMPLE_ID, Domain, In, Out, OutTime
from app.core.security.access_tokens import ACCESS_TOKEN_LIFETIME, AccessClaims
from app.core.web.paging import CountedPage
from app.menus.rules import MenuNode
from app.menus.schemas import MenuBranch

_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"
_REFRESH = "trt_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLE"

RememberMe = Annotated[StrictBool, Field(description="Stay signed in for 30 days instead of one.")]
Designation = Annotated[str, Field(description="The role's name.", examples=["Admin"])]
SessionTime = Annotated[int, Field(description="How long the session lasts from its last use.", examples=[1440])]


class SignIn(In):
    """An e-mail and its password."""

    email: EmailField
    password: PresentPassword
    org: Annotated[
        Domain | None,
        Field(description="The organisation's domain; needed only where e-mail and password fit two."),
    ] = None
    remember_me: RememberMe = False
    totp: Totp = None
    recovery_code: OrRecoveryCode = None


class Tokens(Out):
    """An access token, and the refresh token that gets the next one. `jwt` and `accessToken` are the same token."""

    jwt: Annotated[str, Field(examples=[_JWT])]
    access_token: Annotated[str, Field(examples=[_JWT])]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a name
    expires_in: Annotated[int, Field(description="Seconds.", examples=[1800])]
    refresh_token: Annotated[str, Field(description="For `POST /auth/refresh`, once.", examples=[_REFRESH])]
    refresh_expires_in: Annotated[int, Field(description="Seconds.", examples=[86_400])]


class SignedIn(Tokens):
    """The tokens, their user, and what an organisation's own front end needs to know of them."""

    user: UserFields
    designation: Designation
    session_time_in_minutes: SessionTime
    menu: Annotated[list[MenuBranch], Field(description="What they see of the organisation's menu.")]

    @classmethod
    def of(cls, signed_in: service.SignedIn) -> Self:
        """The answer to somebody who has just signed in."""
        return cls(
            **tokens_of(signed_in),
            user=UserFields.of(signed_in.user),
            designation=signed_in.user.designation,
            session_time_in_minutes=minutes_of(remembered=signed_in.session.remembered),
            menu=[MenuBranch.of(branch) for branch in signed_in.menu],
        )


class MyMenu(Out):
    """What an organisation's own front end shows the signed-in user."""

    menu: list[MenuBranch]
    designation: Designation
    session_time_in_minutes: SessionTime

    @classmethod
    def of(cls, user: Principal, menu: Iterable[MenuNode]) -> Self:
        """The answer to this user."""
        return cls(
            menu=[MenuBranch.of(branch) for branch in menu],
            designation=user.designation,
            session_time_in_minutes=minutes_of(remembered=user.remembered),
        )


def minutes_of(*, remembered: bool) -> int:
    """How long a session lasts from its last use, in minutes."""
    return int(service.lifetime(remembered=remembered).total_seconds()) // 60


def tokens_of(signed_in: service.Refreshed) -> dict[str, object]:
    """The fields of `Tokens`."""
    return {
        "jwt": signed_in.access_token,
        "access_token": signed_in.access_token,
        "expires_in": int(ACCESS_TOKEN_LIFETIME.total_seconds()),
        "refresh_token": signed_in.refresh_token,
        "refresh_expires_in": int(service.lifetime(remembered=signed_in.session.remembered).total_seconds()),
    }


class Refresh(In):
    """A refresh token, to be exchanged."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=4096, examples=[_REFRESH])]


class Verify(In):
    """An access token, to be looked at."""

    token: Annotated[str, Field(min_length=1, max_length=4096, examples=[_JWT])]


class Verified(Out):
    """What a good access token says (RFC 7519), and whose it is at this moment; of any other, only that it is not."""

    active: Annotated[bool, Field(examples=[True])]
    token_type: Annotated[Literal["Bearer"] | None, Field(examples=["Bearer"])] = None
    sub: Annotated[UUID | None, Field(description="The user's id.", examples=[EXAMPLE_ID])] = None
    org: Annotated[UUID | None, Field(description="The organisation's id.", examples=[EXAMPLE_ID])] = None
    sid: Annotated[UUID | None, Field(description="The session's id.", examples=[EXAMPLE_ID])] = None
    role: Annotated[Role | None, Field(description="As it is now.", examples=["ENGINEER"])] = None
    email: Annotated[str | None, Field(examples=["ada@growfin.com"])] = None
    permissions: Annotated[list[str] | None, Field(description="As they are now.", examples=[["tickets:view"]])] = None
    second_factor_required: Annotated[
        bool | None, Field(description="Whether they are to set one up before anything else.", examples=[False])
    ] = None
    iss: Annotated[str | None, Field(examples=["tessera"])] = None
    aud: Annotated[str | None, Field(examples=["tessera-api"])] = None
    iat: Annotated[int | None, Field(description="Seconds since the epoch.", examples=[1_772_443_800])] = None
    exp: Annotated[int | None, Field(description="Seconds since the epoch.", examples=[1_772_445_600])] = None
    jti: Annotated[str | None, Field(examples=[EXAMPLE_ID])] = None

    @classmethod
    def of(cls, claims: AccessClaims, user: Principal, *, held: bool) -> Self:
        """The answer about the token of a user; `held`, if they can do nothing before they have a second factor."""
        said = {name: claims.all[name] for name in ("sub", "org", "sid", "iss", "aud", "iat", "exp", "jti")}
        return cls(
            active=True,
            token_type="Bearer",  # noqa: S106 - a name
            role=user.role,
            email=user.email,
            permissions=[] if held else sorted(user.permissions),
            second_factor_required=held,
            **said,
        )


class SessionOut(Out):
    """Somewhere you are signed in."""

    id: UUID
    device: Annotated[str, Field(description="What it calls itself: its `User-Agent`.", examples=["Mozilla/5.0 (X11)"])]
    address: Annotated[str, Field(description="Where it was used from last.", examples=["198.51.100.7"])]
    current: Annotated[bool, Field(description="Whether this request comes from it.", examples=[True])]
    remember_me: Annotated[bool, Field(description="Whether it lasts for 30 days from its last use instead of one.")]
    created_at: OutTime
    last_used_at: Annotated[OutTime, Field(description="When it signed in, or was refreshed last.")]
    expires_at: Annotated[OutTime, Field(description="When it ends, unless it is refreshed before.")]

    @classmethod
    def of(cls, row: Session, current: UUID | None) -> Self:
        """The answer about this row, to somebody in the session `current`."""
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


class SessionPage(CountedPage[SessionOut]):
    """A page of sessions."""

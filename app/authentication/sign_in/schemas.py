"""Define the requests and responses about signing in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, StrictBool

from app.accounts.users.fields import CurrentPassword, Designation, KnownEmailField
from app.accounts.users.schemas import User
from app.authentication.second_factor.schemas import OptionalRecoveryCode, Totp
from app.authentication.sessions.rules import session_lifetime
from app.authentication.sessions.schemas import TokenPair, token_fields
from app.authentication.sign_in.service import SignedIn
from app.core.email_addresses import Domain
from app.core.fields import RequestModel
from app.menus.rules import MenuNode
from app.menus.schemas import SessionMinutes, VisibleMenu, to_minutes

RememberMe = Annotated[StrictBool, Field(description="Stay signed in for 30 days instead of one.")]


class SignInRequest(RequestModel):
    """An e-mail address and its password, with a code for users who have a second factor."""

    email: KnownEmailField
    password: CurrentPassword
    org: Annotated[
        Domain | None,
        Field(
            description="The organisation's domain. Required only if e-mail address and password match accounts in two "
            "organisations."
        ),
    ] = None
    remember_me: RememberMe = False
    totp: Totp = None
    recovery_code: OptionalRecoveryCode = None


class SignInResult(TokenPair):
    """The tokens, the user who signed in, and what the organisation's front end shows this user."""

    user: Annotated[User, Field(description="The user who signed in.")]
    designation: Designation
    session_time_in_minutes: SessionMinutes
    menu: Annotated[list[VisibleMenu], Field(description="The menu entries that the user sees, in order.")]

    @classmethod
    def of(cls, signed_in: SignedIn, menu: Iterable[MenuNode]) -> Self:
        """Make the response to a user who has signed in and sees this menu."""
        user, tokens = signed_in.user, signed_in.tokens
        return cls(
            **token_fields(tokens),
            user=User.of(user),
            designation=user.role_name,
            session_time_in_minutes=to_minutes(session_lifetime(remembered=tokens.session.remembered)),
            menu=[VisibleMenu.of(node) for node in menu],
        )

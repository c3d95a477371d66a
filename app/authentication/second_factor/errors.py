"""Errors about second factors."""

from __future__ import annotations

from app.core.errors import Conflict, Forbidden, Unauthenticated


class TotpRequired(Unauthenticated):
    """The password is right, but a code of the second factor is missing."""

    code = "totp_required"
    title = "Send the code of your authenticator as `totp` as well, or a recovery code as `recoveryCode`."
    advice = "Send the request again, with `totp` or `recoveryCode`."
    member_descriptions = {"exchangeToken": "Token for `POST /auth/oidc/exchange`. Only after a social sign-in."}


class WrongCodeAtSignIn(Unauthenticated):
    """At sign-in, the code does not match, or was used before."""

    code = "totp_invalid"
    title = "The code is wrong, or was used before. Send the code that the authenticator shows now."
    advice = "Send the code that the authenticator shows now, or another recovery code."


class WrongCode(Forbidden):
    """The code of a signed-in user does not match, or was used before.

    Not a 401, because clients sign their user out when they get a 401.
    """

    code = "wrong_code"
    title = "The code is wrong, or was used before. Send the code that the authenticator shows now."
    advice = "Send the code that the authenticator shows now, or another recovery code."


class SecondFactorActive(Conflict):
    """The user has a second factor already."""

    code = "second_factor_active"
    title = "You have a second factor: disable it before you set up another."


class SecondFactorNotSetUp(Conflict):
    """The user has no second factor."""

    code = "second_factor_not_set_up"
    title = "You have no second factor: set it up with POST /auth/2fa/setup first."


class SecondFactorMandatory(Conflict):
    """The organisation requires a second factor of its admins and engineers."""

    code = "second_factor_mandatory"
    title = (
        "Your organisation requires a second factor, so you cannot disable it. If you have lost it, ask an "
        "admin to reset it."
    )

"""Errors about social sign-ins."""

from __future__ import annotations

from app.core.errors import Forbidden, NotFound, Unavailable


class ProviderNotFound(NotFound):
    """This service has no social sign-in provider of that name."""

    code = "provider_not_found"
    title = "There is no such social sign-in provider."
    advice = "Use another provider, or sign in with the password."


class ProviderUnavailable(Unavailable):
    """The provider cannot be reached, or its responses are not valid."""

    code = "provider_unavailable"
    title = "The provider is currently unavailable: try again shortly, or sign in another way."


class SocialSignInRefused(Forbidden):
    """The provider refused the sign-in or did not prove the identity.

    Only the log contains the reason.
    """

    code = "social_sign_in_refused"
    title = "The provider did not confirm your identity: start again, or sign in another way."


class StateMismatch(Forbidden):
    """The callback does not belong to a sign-in that this browser started within the last ten minutes."""

    code = "state_mismatch"
    title = "This sign-in was not started in this browser, is complete, or took longer than ten minutes: start again."


class LinkedElsewhere(Forbidden):
    """The user with this e-mail is linked to another account at the provider."""

    code = "linked_elsewhere"
    title = "The user with this e-mail is linked to another account at the provider: sign in with that account."


class IdentificationFailed(Exception):
    """The provider did not prove an identity. The message is for logs and contains no code or token."""


class ProviderUnreachable(IdentificationFailed):
    """The provider does not respond."""


class InvalidProviderResponse(IdentificationFailed):
    """The provider's response has an error status, is too large, or is not a JSON object."""


class AccountLinkedConcurrently(Exception):
    """A concurrent sign-in has linked the same account."""

"""Refusals of a request because of its credentials or the permissions behind them."""

from __future__ import annotations

from app.core.errors import Forbidden, Unauthenticated


class MissingCredential(Unauthenticated):
    """The request has none of the credentials that the operation takes."""

    code = "missing_credential"
    title = "A credential is required: WWW-Authenticate names the kinds."


class InvalidSecretKey(Unauthenticated):
    """No organisation has this secret key, or it was revoked."""

    code = "invalid_secret_key"
    title = "The organisation secret key is not valid, or it was revoked."


class SecretKeyMismatch(Unauthenticated):
    """The header and the body name different secret keys."""

    code = "secret_key_mismatch"
    title = "The secret keys in the header and in the body differ: send one of them."


class AccessTokenRequired(Forbidden):
    """The request has a valid secret key, and the operation is for users."""

    code = "access_token_required"
    title = "Organisation secret keys are not accepted here: use a user's access token."


class SecretKeyRequired(Forbidden):
    """The request has a valid access token, and the operation is for products."""

    code = "secret_key_required"
    title = "Access tokens are not accepted here: use an organisation secret key."


class PermissionRequired(Forbidden):
    """The user lacks the permission that the operation requires."""

    code = "permission_required"
    title = "You lack the permission for this: ask an admin for a role that has it."


class NotForCustomers(Forbidden):
    """The operation reaches beyond the customer's own tickets and profile."""

    code = "not_for_customers"
    title = "Customers cannot do this: it is for admins and engineers."


class SecondFactorRequired(Forbidden):
    """The organisation requires a second factor of its admins and engineers, and the user has none."""

    code = "second_factor_required"
    title = "Your organisation requires a second factor: set it up with POST /auth/2fa/setup first."


class PrivilegeEscalation(Forbidden):
    """The change would grant permissions that the caller lacks, or concerns a user who has them.

    The same holds for a role kind above the caller's own, whatever its permissions are.
    """

    code = "privilege_escalation"
    title = "This exceeds your own role kind or permissions: ask an admin who has them."

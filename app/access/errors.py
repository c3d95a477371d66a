"""Errors about credentials and permissions."""

from __future__ import annotations

from app.core.errors import Forbidden, Unauthenticated


class MissingCredential(Unauthenticated):
    """The request has no credential that the operation accepts."""

    code = "missing_credential"
    title = "A credential is required. The header WWW-Authenticate lists what is accepted."
    advice = "`detail` names the header to send."


class InvalidSecretKey(Unauthenticated):
    """No organisation has this secret key, or it was revoked."""

    code = "invalid_secret_key"
    title = "The organisation secret key is not valid, or it was revoked. Check that it is complete."


class SecretKeyMismatch(Unauthenticated):
    """The header `X-Org-Secret` and the field `secret` of the body contain different secret keys."""

    code = "secret_key_mismatch"
    title = "The header and the body contain different secret keys. Send one of them."


class AccessTokenRequired(Forbidden):
    """The operation is for users, but the request has a secret key."""

    code = "access_token_required"
    title = "Organisation secret keys are not accepted here: use a user's access token."
    advice = "Send the access token of a user, from `POST /auth/signin`."


class SecretKeyRequired(Forbidden):
    """The operation is for products, but the request has an access token."""

    code = "secret_key_required"
    title = "Access tokens are not accepted here: use an organisation secret key."
    advice = "Send the organisation's secret key in `X-Org-Secret`."


class PermissionRequired(Forbidden):
    """The user lacks the permission that `detail` names."""

    code = "permission_required"
    title = "You lack the permission for this: ask an admin for a role that has it."


class AdminRequired(Forbidden):
    """The operation, or one of the fields that were sent, is for users whose role is of the kind `ADMIN`."""

    code = "admin_required"
    title = "Only admins can do this: ask one of them."


class ReauthenticationRequired(Forbidden):
    """The user signed in more than five minutes ago, and the operation needs a fresh proof of who they are.

    Not a 401, because clients sign their user out when they get a 401.
    """

    code = "reauthentication_required"
    title = (
        "This needs a sign-in within the last five minutes: send your password to POST /auth/reauthenticate, or sign "
        "in again, and repeat the request."
    )


class NotForCustomers(Forbidden):
    """Customers can use only their own tickets and profile."""

    code = "not_for_customers"
    title = "Customers cannot do this: it is for admins and engineers."
    advice = "Ask an admin or an engineer of the organisation."


class SecondFactorRequired(Forbidden):
    """The organisation requires a second factor of its admins and engineers, and the user has none."""

    code = "second_factor_required"
    title = "Your organisation requires a second factor: set it up with POST /auth/2fa/setup first."


class PrivilegeEscalation(Forbidden):
    """The change would grant permissions that the caller lacks, or would change a user who has such permissions.

    The same holds for a role kind above the caller's own, whatever its permissions are.
    """

    code = "privilege_escalation"
    title = "This exceeds your own role kind or permissions: ask an admin who has them."

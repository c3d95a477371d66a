"""Who is calling: what a request's credentials say, once they have been looked up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.access.permissions import Permissions, RoleKind, exceeds
from app.access.tenant import Tenant
from app.core.errors import Forbidden, Unauthenticated
from app.core.outbox.events import Actor, ActorType


class MissingCredential(Unauthenticated):
    """The request has none of the credentials that the operation takes."""

    code = "missing_credential"
    title = "This needs a credential: see WWW-Authenticate."


class InvalidSecret(Unauthenticated):
    """No organisation has this secret, or it was revoked."""

    code = "invalid_secret"
    title = "The organisation secret is not valid."


class SecretMismatch(Unauthenticated):
    """The header and the body name different secrets."""

    code = "secret_mismatch"
    title = "The secrets in the header and in the body differ."


class UserRequired(Forbidden):
    """A good secret, where a user has to act."""

    code = "user_required"
    title = "This needs a user's access token: an organisation secret does not do."


class SecretRequired(Forbidden):
    """A good access token, where a product has to act."""

    code = "secret_required"
    title = "This needs an organisation secret: an access token does not do."


class PermissionRequired(Forbidden):
    """The user's role does not allow it."""

    code = "permission_required"
    title = "Your role does not have the permission that this needs."


class NotForCustomers(Forbidden):
    """It reaches beyond what is the customer's own."""

    code = "not_for_customers"
    title = "This is for the organisation's admins and engineers."


class SecondFactorRequired(Forbidden):
    """The organisation wants a second factor of its admins and engineers."""

    code = "second_factor_required"
    title = "Your organisation requires a second factor: set it up with POST /auth/2fa/setup first."


class BeyondYourRights(Forbidden):
    """It would give permissions, or act on somebody with permissions, that the caller does not have.

    So it is with a role of a kind that is above the caller's own, whatever its permissions: to be an admin carries
    weight by itself.
    """

    code = "beyond_your_rights"
    title = "This reaches beyond your own role or permissions: no one grants what they do not have."


@dataclass(frozen=True)
class Principal:
    """The signed-in user, and what they may do.

    `designation` is the name of their role; `remembered` says that their session is one of the longer ones.
    """

    id: UUID
    email: str
    first_name: str
    last_name: str
    role: RoleKind
    role_id: UUID
    designation: str
    permissions: Permissions
    second_factor: bool = False
    session_id: UUID | None = None
    remembered: bool = False

    @property
    def sees_own_only(self) -> bool:
        """Whether of tickets and what hangs on them, only their own are there for them."""
        return self.role == RoleKind.CUSTOMER


def lacks_second_factor(tenant: Tenant, user: Principal) -> bool:
    """Whether the organisation wants a second factor of somebody who has none: until then they can do nothing else."""
    return tenant.require_2fa and user.role != RoleKind.CUSTOMER and not user.second_factor


@dataclass(frozen=True)
class Caller:
    """Whose request this is. `user` is nobody where a product calls with its organisation's secret."""

    tenant: Tenant
    user: Principal | None
    now: datetime

    @property
    def org_id(self) -> UUID:
        """The organisation that everything happens in."""
        return self.tenant.id

    @property
    def actor(self) -> Actor:
        """Who events name."""
        return Actor(ActorType.USER, self.user.id) if self.user else Actor(ActorType.ORGANISATION, self.tenant.id)

    @property
    def somebody(self) -> Principal:
        """The signed-in user, where the operation is for users only."""
        assert self.user is not None
        return self.user


def check_rights(caller: Caller, role: str, wanted: Permissions) -> None:
    """Refuse that somebody gives, or acts on somebody with, more than they have.

    Args:
        role: the kind, which is not to be above the caller's.
        wanted: the permissions, which the caller must have all.

    Raises:
        BeyondYourRights
    """
    me = caller.somebody
    if RoleKind(role).outranks(me.role) or exceeds(wanted, me.permissions):
        raise BeyondYourRights


class CredentialLookup(Protocol):
    """Looks credentials up; what does it (`identity/sessions/credential_cache.py`) knows users, who stand above."""

    async def by_secret(self, secret: str) -> Tenant:
        """The organisation of a secret; raises `InvalidSecret`."""
        ...

    async def by_token(self, token: str) -> tuple[Tenant, Principal]:
        """The user of an access token, and the organisation; raises `Unauthenticated`."""
        ...

    def forget(self, org_id: UUID, user_id: UUID | None = None) -> None:
        """Look an organisation and its users, or one user, up again."""
        ...

"""The caller of a request: a signed-in user, or one of the organisation's products."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.access.errors import AdminRequired, PrivilegeEscalation, ReauthenticationRequired
from app.access.tenant import Tenant
from app.access.user_permissions import Permissions, RoleKind, exceeds
from app.core.clock import real_now
from app.core.outbox.events import Actor, ActorType

# A sign-in counts as fresh for this long. A stolen access token is rarely that young.
FRESH_SIGN_IN = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The signed-in user of a request, with the permissions that they have at this moment.

    `session_id` is the session that the access token belongs to. It lasts for `session_lifetime` after its last use.
    `authenticated_at` is when the user last proved in it who they are (real time); refreshing is no proof.
    """

    id: UUID
    email: str
    first_name: str
    last_name: str
    role_kind: RoleKind
    role_id: UUID
    role_name: str
    permissions: Permissions
    second_factor: bool
    session_id: UUID
    session_lifetime: timedelta
    authenticated_at: datetime

    @property
    def is_limited_to_own_tickets(self) -> bool:
        """Whether the user can reach only their own tickets, and the data of those tickets."""
        return self.role_kind == RoleKind.CUSTOMER

    @property
    def is_freshly_authenticated(self) -> bool:
        """Whether the user proved who they are within the last `FRESH_SIGN_IN`."""
        return real_now() - self.authenticated_at <= FRESH_SIGN_IN


@dataclass(frozen=True, kw_only=True)
class _OrganisationCaller:
    """The fields of every caller. `now` is the organisation's time when the request came."""

    tenant: Tenant
    now: datetime

    @property
    def org_id(self) -> UUID:
        """The organisation that the request acts in."""
        return self.tenant.id


@dataclass(frozen=True, kw_only=True)
class UserCaller(_OrganisationCaller):
    """A user, who called with an access token."""

    user: Principal

    @property
    def actor(self) -> Actor:
        """The actor that events name."""
        return Actor(ActorType.USER, self.user.id)


@dataclass(frozen=True, kw_only=True)
class ProductCaller(_OrganisationCaller):
    """A product of the organisation, which called with the organisation's secret key."""

    @property
    def actor(self) -> Actor:
        """The actor that events name."""
        return Actor(ActorType.ORGANISATION, self.org_id)


Caller = UserCaller | ProductCaller


def is_second_factor_mandatory(tenant: Tenant, role_kind: RoleKind) -> bool:
    """Return whether the organisation requires a second factor of users of this kind. Customers never need one."""
    return tenant.require_2fa and role_kind != RoleKind.CUSTOMER


def lacks_second_factor(tenant: Tenant, user: Principal) -> bool:
    """Return whether the user must set up a second factor before they can do anything else."""
    return is_second_factor_mandatory(tenant, user.role_kind) and not user.second_factor


def ensure_can_grant(caller: UserCaller, role_kind: str, permissions: Permissions) -> None:
    """Refuse a role kind or permissions that exceed the caller's own.

    The caller wants to grant them, or to change a user who has them.

    Raises:
        PrivilegeEscalation
    """
    user = caller.user
    if RoleKind(role_kind).outranks(user.role_kind) or exceeds(permissions, user.permissions):
        raise PrivilegeEscalation


def ensure_admin(caller: UserCaller) -> None:
    """Refuse callers whose role is not of the kind `ADMIN`, whatever permissions they have.

    Raises:
        AdminRequired
    """
    if caller.user.role_kind != RoleKind.ADMIN:
        raise AdminRequired


def ensure_freshly_authenticated(caller: UserCaller) -> None:
    """Refuse callers whose sign-in is not fresh. Such an operation declares it: see `Requirement`.

    Raises:
        ReauthenticationRequired
    """
    if not caller.user.is_freshly_authenticated:
        raise ReauthenticationRequired

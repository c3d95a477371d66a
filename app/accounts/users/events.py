"""The events of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.access.user_permissions import RoleKind
from app.accounts.users.rules import AccountStatus
from app.core.outbox.events import Event, ReactionOnly, Subject


@dataclass(frozen=True, kw_only=True)
class UserEvent(Event):
    """The base of events about a user."""

    user_id: Subject


@dataclass(frozen=True, kw_only=True)
class UserSignedUp(UserEvent):
    """A user signed up. With the status `PENDING`, an admin has to approve the account."""

    type: ClassVar[str] = "user.signed_up"

    role: Annotated[RoleKind, Field(description="The role kind of the account.")]
    status: Annotated[AccountStatus, Field(description="The status of the account after the sign-up.")]


@dataclass(frozen=True, kw_only=True)
class UserUpdated(UserEvent):
    """The profile changed. Only the names of the fields are stored, since their values are personal data."""

    type: ClassVar[str] = "user.updated"

    fields: Annotated[list[str], Field(description="The names of the fields that changed.")]


@dataclass(frozen=True, kw_only=True)
class UserBecameAvailable(UserEvent):
    """The user can be assigned new tickets from now on."""

    type: ClassVar[str] = "user.became_available"


@dataclass(frozen=True, kw_only=True)
class UserBecameUnavailable(UserEvent):
    """The user is assigned no new tickets."""

    type: ClassVar[str] = "user.became_unavailable"


@dataclass(frozen=True, kw_only=True)
class EmailClaimed(UserEvent):
    """Another person signed up with the e-mail of this user, or tried to change to it. The user gets a mail."""

    type: ClassVar[str] = "user.email_claimed"


@dataclass(frozen=True, kw_only=True)
class UserInvited(UserEvent):
    """An admin created the account and sent an invitation."""

    type: ClassVar[str] = "user.invited"

    role: Annotated[RoleKind, Field(description="The role kind of the account.")]


@dataclass(frozen=True, kw_only=True)
class UserJoined(UserEvent):
    """The user accepted the invitation: the account is active."""

    type: ClassVar[str] = "user.joined"


@dataclass(frozen=True, kw_only=True)
class UserInvitationCancelled(UserEvent):
    """An admin cancelled the invitation and deleted its account. The stored event lacks the e-mail."""

    type: ClassVar[str] = "user.invitation_cancelled"

    email: ReactionOnly[str]


@dataclass(frozen=True, kw_only=True)
class UserApproved(UserEvent):
    """An admin approved the sign-up: the account is active."""

    type: ClassVar[str] = "user.approved"


@dataclass(frozen=True, kw_only=True)
class UserRejected(UserEvent):
    """An admin rejected the sign-up."""

    type: ClassVar[str] = "user.rejected"


@dataclass(frozen=True, kw_only=True)
class UserSuspended(UserEvent):
    """An admin suspended the account until it is reactivated."""

    type: ClassVar[str] = "user.suspended"


@dataclass(frozen=True, kw_only=True)
class UserReactivated(UserEvent):
    """An admin reactivated the account."""

    type: ClassVar[str] = "user.reactivated"


@dataclass(frozen=True, kw_only=True)
class UserRoleChanged(UserEvent):
    """The user has another role. The ids are ids of roles, custom or built-in."""

    type: ClassVar[str] = "user.role_changed"

    from_role: Annotated[RoleKind, Field(description="The role kind before.")]
    to_role: Annotated[RoleKind, Field(description="The role kind after.")]
    from_role_id: Annotated[UUID, Field(description="The role before.")]
    to_role_id: Annotated[UUID, Field(description="The role after.")]


@dataclass(frozen=True, kw_only=True)
class UserPermissionsChanged(UserEvent):
    """The permissions that the user is granted and denied on top of the role, after the change."""

    type: ClassVar[str] = "user.permissions_changed"

    granted: Annotated[list[str], Field(description="The permissions granted on top of those of the role.")]
    denied: Annotated[list[str], Field(description="The permissions denied although the role has them.")]


@dataclass(frozen=True, kw_only=True)
class EmailVerified(UserEvent):
    """The user proved that the e-mail address is theirs."""

    type: ClassVar[str] = "user.email_verified"


@dataclass(frozen=True, kw_only=True)
class EmailChanged(UserEvent):
    """The user has another e-mail address. The stored event lacks the old one."""

    type: ClassVar[str] = "user.email_changed"

    old_email: ReactionOnly[str]


@dataclass(frozen=True, kw_only=True)
class PasswordChanged(UserEvent):
    """The user has another password."""

    type: ClassVar[str] = "user.password_changed"


@dataclass(frozen=True, kw_only=True)
class UserErased(UserEvent):
    """The personal data of the user was deleted. The stored event lacks it."""

    type: ClassVar[str] = "user.erased"

    name: ReactionOnly[str]
    email: ReactionOnly[str]
    email_was_verified: ReactionOnly[bool]

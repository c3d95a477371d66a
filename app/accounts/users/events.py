"""What happens to users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class UserSignedUp(Event):
    """Somebody joined the organisation."""

    type: ClassVar[str] = "user.signed_up"

    user_id: UUID
    role: str
    status: str


@dataclass(frozen=True, kw_only=True)
class UserUpdated(Event):
    """Their profile changed: the names of the fields only, since what they say is personal."""

    type: ClassVar[str] = "user.updated"

    user_id: UUID
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class UserBecameAvailable(Event):
    """New tickets may go to them from now on."""

    type: ClassVar[str] = "user.became_available"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserBecameUnavailable(Event):
    """No new tickets go to them."""

    type: ClassVar[str] = "user.became_unavailable"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailClaimed(Event):
    """Somebody signed up with, or tried to change to, the e-mail of this user, who is to be told instead."""

    type: ClassVar[str] = "user.email_claimed"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserInvited(Event):
    """An admin made an account for them."""

    type: ClassVar[str] = "user.invited"

    user_id: UUID
    role: str


@dataclass(frozen=True, kw_only=True)
class UserJoined(Event):
    """They accepted their invitation: the account is active."""

    type: ClassVar[str] = "user.joined"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserInvitationCancelled(Event):
    """An admin took the invitation back, and the account with it. The e-mail is for the reactions, and is not kept."""

    type: ClassVar[str] = "user.invitation_cancelled"

    user_id: UUID
    email: str

    def data(self) -> dict[str, Any]:
        """Who, and no address."""
        return {"userId": self.user_id}


@dataclass(frozen=True, kw_only=True)
class UserApproved(Event):
    """An admin approved the sign-up: the account is active."""

    type: ClassVar[str] = "user.approved"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserRejected(Event):
    """An admin rejected the sign-up."""

    type: ClassVar[str] = "user.rejected"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserSuspended(Event):
    """They cannot act until they are reactivated."""

    type: ClassVar[str] = "user.suspended"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserReactivated(Event):
    """They can act again."""

    type: ClassVar[str] = "user.reactivated"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserRoleChanged(Event):
    """Their role is another one; the ids are of roles, built-in ones included."""

    type: ClassVar[str] = "user.role_changed"

    user_id: UUID
    from_role: str
    to_role: str
    from_role_id: UUID
    to_role_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserPermissionsChanged(Event):
    """What they are granted and denied on top of their role, as it is now."""

    type: ClassVar[str] = "user.permissions_changed"

    user_id: UUID
    granted: list[str]
    denied: list[str]


@dataclass(frozen=True, kw_only=True)
class EmailVerified(Event):
    """They have proved that their e-mail is theirs."""

    type: ClassVar[str] = "user.email_verified"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailChanged(Event):
    """They have another e-mail. The old one is for the reactions, and is not kept."""

    type: ClassVar[str] = "user.email_changed"

    user_id: UUID
    old_email: str

    def data(self) -> dict[str, Any]:
        """Who, and no address."""
        return {"userId": self.user_id}


@dataclass(frozen=True, kw_only=True)
class PasswordChanged(Event):
    """They have another password."""

    type: ClassVar[str] = "user.password_changed"

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class UserErased(Event):
    """Their personal data is gone. What it was is for the reactions, and is not kept."""

    type: ClassVar[str] = "user.erased"

    user_id: UUID
    name: str
    email: str
    email_was_verified: bool

    def data(self) -> dict[str, Any]:
        """Who, and nothing else."""
        return {"userId": self.user_id}

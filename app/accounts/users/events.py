"""What happens to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class PersonSignedUp(Event):
    """Somebody joined the organisation."""

    type: ClassVar[str] = "person.signed_up"

    person_id: UUID
    role: str
    status: str


@dataclass(frozen=True, kw_only=True)
class PersonUpdated(Event):
    """Their profile changed: the names of the fields only, since what they say is personal."""

    type: ClassVar[str] = "person.updated"

    person_id: UUID
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class PersonBecameAvailable(Event):
    """New tickets may go to them from now on."""

    type: ClassVar[str] = "person.became_available"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonBecameUnavailable(Event):
    """No new tickets go to them."""

    type: ClassVar[str] = "person.became_unavailable"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailClaimed(Event):
    """Somebody signed up with, or tried to change to, the e-mail of this person, who is to be told instead."""

    type: ClassVar[str] = "person.email_claimed"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonInvited(Event):
    """An admin made an account for them."""

    type: ClassVar[str] = "person.invited"

    person_id: UUID
    role: str


@dataclass(frozen=True, kw_only=True)
class PersonJoined(Event):
    """They accepted their invitation: the account is active."""

    type: ClassVar[str] = "person.joined"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonInvitationCancelled(Event):
    """An admin took the invitation back, and the account with it. The e-mail is for the reactions, and is not kept."""

    type: ClassVar[str] = "person.invitation_cancelled"

    person_id: UUID
    email: str

    def data(self) -> dict[str, Any]:
        """Who, and no address."""
        return {"personId": self.person_id}


@dataclass(frozen=True, kw_only=True)
class PersonApproved(Event):
    """An admin approved the sign-up: the account is active."""

    type: ClassVar[str] = "person.approved"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonRejected(Event):
    """An admin rejected the sign-up."""

    type: ClassVar[str] = "person.rejected"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonSuspended(Event):
    """They cannot act until they are reactivated."""

    type: ClassVar[str] = "person.suspended"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonReactivated(Event):
    """They can act again."""

    type: ClassVar[str] = "person.reactivated"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonRoleChanged(Event):
    """Their role is another one; the ids are of roles, built-in ones included."""

    type: ClassVar[str] = "person.role_changed"

    person_id: UUID
    from_role: str
    to_role: str
    from_role_id: UUID
    to_role_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonPermissionsChanged(Event):
    """What they are granted and denied on top of their role, as it is now."""

    type: ClassVar[str] = "person.permissions_changed"

    person_id: UUID
    granted: list[str]
    denied: list[str]


@dataclass(frozen=True, kw_only=True)
class EmailVerified(Event):
    """They have proved that their e-mail is theirs."""

    type: ClassVar[str] = "person.email_verified"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailChanged(Event):
    """They have another e-mail. The old one is for the reactions, and is not kept."""

    type: ClassVar[str] = "person.email_changed"

    person_id: UUID
    old_email: str

    def data(self) -> dict[str, Any]:
        """Who, and no address."""
        return {"personId": self.person_id}


@dataclass(frozen=True, kw_only=True)
class PasswordChanged(Event):
    """They have another password."""

    type: ClassVar[str] = "person.password_changed"

    person_id: UUID


@dataclass(frozen=True, kw_only=True)
class PersonErased(Event):
    """Their personal data is gone. What it was is for the reactions, and is not kept."""

    type: ClassVar[str] = "person.erased"

    person_id: UUID
    name: str
    email: str
    email_was_verified: bool

    def data(self) -> dict[str, Any]:
        """Who, and nothing else."""
        return {"personId": self.person_id}

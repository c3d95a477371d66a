"""Define the requests and responses about the signed-in user's profile."""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import MISSING, Field, StrictBool, StringConstraints
from pydantic.alias_generators import to_camel

from app.access.user_permissions import RoleKind
from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.profiles.service import ProfileChanges
from app.accounts.roles.schemas import ResourcePermissions, as_table
from app.accounts.users import models
from app.accounts.users.fields import Bio, FirstName, LastName, LocaleOfUser, TimeZoneOfUser
from app.accounts.users.rules import UserStatus
from app.accounts.users.schemas import User, user_fields
from app.core.errors import BadInput, FieldError
from app.core.fields import Locale, LongText, RequestModel, ResponseModel, Timestamp, TimeZone

MAX_BIO_LENGTH = 2000
BioText = Annotated[LongText, StringConstraints(max_length=MAX_BIO_LENGTH)]

_TICKET_ASSIGNED = Field(description="Mail when a ticket is assigned to you.")
_TICKET_RESPONDED = Field(description="Mail when your ticket gets a reply.")
_TICKET_CLOSING_SOON = Field(description="Mail before your ticket closes automatically.")
_SIGN_UP_REQUESTS = Field(description="Mail when a user who signed up waits for approval.")


class NotificationPreferencesUpdate(RequestModel):
    """Changes to the mails that you receive. Fields that are not sent stay as they are."""

    ticket_assigned: Annotated[StrictBool | MISSING, _TICKET_ASSIGNED] = MISSING
    ticket_responded: Annotated[StrictBool | MISSING, _TICKET_RESPONDED] = MISSING
    ticket_closing_soon: Annotated[StrictBool | MISSING, _TICKET_CLOSING_SOON] = MISSING
    sign_up_requests: Annotated[StrictBool | MISSING, _SIGN_UP_REQUESTS] = MISSING

    def by_kind(self) -> dict[MailKind, bool]:
        """Return the preferences that were sent, by the kind of mail."""
        return {MailKind(name.upper()): wanted for name, wanted in self.model_dump().items()}


_READ_ONLY: Any = Field(
    description="Cannot be changed here: may only repeat what `GET /me` gives.", json_schema_extra={"readOnly": True}
)


class ReadOnlyProfile(RequestModel):
    """The fields of a profile that cannot be changed. They are accepted so that a client can send back what it got."""

    id: Annotated[UUID | MISSING, _READ_ONLY] = MISSING
    org_id: Annotated[UUID | MISSING, _READ_ONLY] = MISSING
    email: Annotated[str | MISSING, _READ_ONLY] = MISSING
    role: Annotated[RoleKind | MISSING, _READ_ONLY] = MISSING
    role_id: Annotated[UUID | MISSING, _READ_ONLY] = MISSING
    designation: Annotated[str | MISSING, _READ_ONLY] = MISSING
    status: Annotated[UserStatus | MISSING, _READ_ONLY] = MISSING
    email_verified: Annotated[StrictBool | MISSING, _READ_ONLY] = MISSING
    second_factor: Annotated[StrictBool | MISSING, _READ_ONLY] = MISSING
    picture_url: Annotated[str | MISSING | None, _READ_ONLY] = MISSING
    created_at: Annotated[Timestamp | MISSING, _READ_ONLY] = MISSING
    permissions: Annotated[list[ResourcePermissions] | MISSING, _READ_ONLY] = MISSING

    def check_unchanged(self, current: models.User) -> None:
        """Refuse values other than those of the user's profile.

        Raises:
            BadInput
        """
        profile = Profile.of(current)
        sent = {name: getattr(self, name) for name in ReadOnlyProfile.model_fields}
        changed = [to_camel(name) for name, value in sent.items() if value not in (MISSING, getattr(profile, name))]
        if changed:
            raise BadInput(errors=[FieldError(name, "This cannot be changed here: leave it out.") for name in changed])


class ProfileUpdate(ReadOnlyProfile):
    """Changes to your profile. Fields that are not sent stay as they are."""

    first_name: FirstName | MISSING = MISSING
    last_name: LastName | MISSING = MISSING
    bio: Annotated[
        BioText | MISSING | None,
        Field(description="A text about yourself; null for none.", examples=["I look after payments."]),
    ] = MISSING
    timezone: Annotated[
        TimeZone | MISSING | None,
        Field(description="Your time zone (IANA); null for none.", examples=["Europe/Berlin"]),
    ] = MISSING
    locale: Annotated[
        Locale | MISSING | None, Field(description="Your language (BCP 47); null for none.", examples=["en-GB"])
    ] = MISSING
    available: Annotated[
        StrictBool | MISSING,
        Field(
            description="Whether you want to be assigned new tickets. This has an effect only while you may see and "
            "change tickets.",
            examples=[True],
        ),
    ] = MISSING
    notifications: Annotated[
        NotificationPreferencesUpdate | MISSING,
        Field(description="Which mails you want to receive.", examples=[{"signUpRequests": False}]),
    ] = MISSING

    def changes(self) -> ProfileChanges:
        """Return the fields that were sent, without `notifications`."""
        return ProfileChanges(
            first_name=self.first_name,
            last_name=self.last_name,
            bio=self.bio,
            timezone=self.timezone,
            locale=self.locale,
            available=self.available,
        )


class NotificationPreferences(ResponseModel):
    """The mails that a user receives. Mails about the safety of their account are always sent."""

    ticket_assigned: Annotated[bool, _TICKET_ASSIGNED]
    ticket_responded: Annotated[bool, _TICKET_RESPONDED]
    ticket_closing_soon: Annotated[bool, _TICKET_CLOSING_SOON]
    sign_up_requests: Annotated[bool, _SIGN_UP_REQUESTS, Field(examples=[False])]


class Profile(User):
    """The signed-in user with their preferences and permissions."""

    bio: Bio
    timezone: TimeZoneOfUser
    locale: LocaleOfUser
    notifications: Annotated[NotificationPreferences, Field(description="Which mails you receive.")]
    permissions: Annotated[list[ResourcePermissions], Field(description="Your permissions. Every resource is listed.")]

    @classmethod
    def of(cls, row: models.User) -> Self:
        """Make the response from a row whose `role` is loaded."""
        return cls(
            **user_fields(row),
            bio=row.bio,
            timezone=row.timezone,
            locale=row.locale,
            notifications=NotificationPreferences(**{kind.lower(): kind not in row.muted for kind in MailKind}),
            permissions=as_table(row.permissions),
        )

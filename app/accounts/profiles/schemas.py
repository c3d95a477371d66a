"""Define the requests and responses about the signed-in user's profile."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import MISSING, Field, StrictBool, StringConstraints

from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.profiles.service import ProfileChanges
from app.accounts.roles.schemas import ResourcePermissions, as_table
from app.accounts.users import models
from app.accounts.users.fields import Bio, FirstName, LastName, LocaleOfUser, TimeZoneOfUser
from app.accounts.users.schemas import User, user_fields
from app.core.fields import Locale, LongText, RequestModel, ResponseModel, TimeZone

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


class ProfileUpdate(RequestModel):
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

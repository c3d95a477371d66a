"""What crosses the wire about somebody's own profile."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StrictBool, StringConstraints

from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.roles.schemas import PermissionOut, as_table
from app.accounts.users.fields import FirstName, LastName, UserFields, fields_of
from app.accounts.users.models import User
from app.core.fields import In, LongText, Out, TimeZone

MAX_BIO_LENGTH = 2000
# A language, and where it is written so or spoken: BCP 47 (RFC 5646), in the case that it recommends.
LOCALE = r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$"

Bio = Annotated[LongText, StringConstraints(max_length=MAX_BIO_LENGTH)]
Locale = Annotated[str, StringConstraints(max_length=16, pattern=LOCALE)]
Available = Annotated[
    StrictBool,
    Field(
        description="Your own switch: whether you want new tickets. It counts while you may see and change tickets.",
        examples=[True],
    ),
]


_ASSIGNED = Field(description="A ticket is yours to work on.")
_ANSWERED = Field(description="Your ticket was answered.")
_CLOSING_SOON = Field(description="Your ticket is about to be closed.")
_REQUESTS = Field(description="Somebody waits for approval.")


class NotificationChange(In):
    """Which mails you want: any of these."""

    ticket_assigned: Annotated[StrictBool, _ASSIGNED] = None  # type: ignore[assignment]
    ticket_answered: Annotated[StrictBool, _ANSWERED] = None  # type: ignore[assignment]
    ticket_closing_soon: Annotated[StrictBool, _CLOSING_SOON] = None  # type: ignore[assignment]
    sign_up_requests: Annotated[StrictBool, _REQUESTS] = None  # type: ignore[assignment]

    def by_kind(self) -> dict[MailKind, bool]:
        """The same, as the service takes it."""
        return {MailKind(name.upper()): getattr(self, name) for name in self.model_fields_set}


class ProfileChange(In):
    """Any of these."""

    first_name: FirstName = None  # type: ignore[assignment]
    last_name: LastName = None  # type: ignore[assignment]
    bio: Annotated[Bio | None, Field(description="Null for none.", examples=["I look after payments."])] = None
    timezone: Annotated[TimeZone | None, Field(description="Null for none.", examples=["Europe/Berlin"])] = None
    locale: Annotated[Locale | None, Field(description="As in BCP 47; null for none.", examples=["en-GB"])] = None
    available: Available = None  # type: ignore[assignment]
    notifications: Annotated[NotificationChange, Field(examples=[{"signUpRequests": False}])] = None  # type: ignore[assignment]


class NotificationsOut(Out):
    """Which mails somebody wants; those about the safety of their account always come."""

    ticket_assigned: Annotated[bool, _ASSIGNED]
    ticket_answered: Annotated[bool, _ANSWERED]
    ticket_closing_soon: Annotated[bool, _CLOSING_SOON]
    sign_up_requests: Annotated[bool, _REQUESTS, Field(examples=[False])]


class ProfileOut(UserFields):
    """The signed-in user, and what only they are told."""

    bio: Annotated[str | None, Field(examples=["I look after payments."])]
    timezone: Annotated[str | None, Field(examples=["Europe/Berlin"])]
    locale: Annotated[str | None, Field(examples=["en-GB"])]
    notifications: NotificationsOut
    permissions: Annotated[list[PermissionOut], Field(description="What you may do, all in all.")]

    @classmethod
    def of(cls, user: User) -> Self:
        """The answer about this row, which was read with its role."""
        return cls(
            **fields_of(user),
            bio=user.bio,
            timezone=user.timezone,
            locale=user.locale,
            notifications=NotificationsOut(**{kind.lower(): kind not in user.muted for kind in MailKind}),
            permissions=as_table(user.permissions),
        )

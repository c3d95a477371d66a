"""Define the requests and responses about organisations."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self, cast, get_args
from uuid import UUID

from pydantic import (
    MISSING,
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

from app.access.tenant import Tenant
from app.core.config import is_safe_url
from app.core.email_addresses import Domain, Email
from app.core.fields import (
    EXAMPLE_ID,
    OF_ANY_SIZE,
    CreatedAt,
    Name,
    RequestModel,
    ResponseModel,
    TimeZone,
    UtcTimestamp,
    clean_line,
)
from app.organisations import models
from app.organisations.rules import refuse_public_suffix, refuse_url
from app.organisations.service import OrganisationChanges

MAX_ADVANCE = timedelta(days=400)
MAX_URL_LENGTH = 200
MAX_ORIGINS = 20
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
# Scheme, host, port and path. A path and a token are appended to the URL, so it has no user, query and fragment.
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(?P<port>:[0-9]{{1,5}})?"
    r"(?P<path>(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)",
    re.IGNORECASE | re.ASCII,
)


def normalise_url(value: str) -> str:
    """Return a URL that paths can be appended to, without a slash at its end.

    Raises:
        ValueError: it is not an http or https URL, or leads to another machine without encryption.
    """
    found = _URL.fullmatch(value)
    if found is None:
        raise ValueError("This is not a URL such as https://desk.growfin.com/app, without a query and a fragment.")
    scheme, host = found["scheme"].lower(), found["host"].lower()
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise ValueError("The part in brackets is not an IPv6 address.") from None
    port = int((found["port"] or f":{_DEFAULT_PORTS[scheme]}")[1:])
    if port not in range(1, 65_536):
        raise ValueError("The port must be between 1 and 65535.")
    # As browsers write it: without the default port.
    written_port = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    normalised = f"{scheme}://{host}{written_port}{found['path'].rstrip('/')}"
    if not is_safe_url(normalised):
        raise ValueError("The URL must begin with https://, except for this machine itself.")
    return normalised


AppUrl = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_URL_LENGTH),
    BeforeValidator(clean_line),
    AfterValidator(normalise_url),
]


def normalise_origin(value: str) -> str:
    """Return an origin as browsers write it.

    Raises:
        ValueError: it is not an http or https origin, or another machine's without encryption.
    """
    try:
        url = normalise_url(value)
    except ValueError:
        url = ""
    if not url or url.count("/") > len("//"):
        raise ValueError("This is not an origin such as https://desk.growfin.com, without a path.")
    return url


Origin = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_URL_LENGTH),
    BeforeValidator(clean_line),
    AfterValidator(normalise_origin),
]
AllowedOrigins = Annotated[
    list[Origin], Field(max_length=MAX_ORIGINS), AfterValidator(lambda origins: list(dict.fromkeys(origins)))
]
# A domain that an organisation can have.
OwnDomain = Annotated[Domain, AfterValidator(refuse_public_suffix)]
OrganisationName = Annotated[Name, AfterValidator(refuse_url)]
MAX_PATH_LENGTH = 200
# The path of a ticket below the `appUrl`. It may be in a query or a fragment, as in `/#/tickets/{id}`.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?#-]*", re.ASCII)
# A segment that is empty, or of dots alone, also if it is percent-encoded, leads out of the `appUrl`.
_OTHER_PLACE = re.compile(r"(?:/|%2f|%5c)(?:(?:/|%2f|%5c)|(?:\.|%2e){1,2}(?:/|%2f|%5c|[?#]|$))", re.IGNORECASE)
_PLACEHOLDERS = re.compile(r"\{(?:id|reference)\}")


def _check_ticket_path(value: str) -> str:
    if not _PLACEHOLDERS.search(value) or not _PATH.fullmatch(_PLACEHOLDERS.sub("", value)):
        raise ValueError("This is not a path such as /tickets/{id}: it begins with / and has {id} or {reference}.")
    if _OTHER_PLACE.search(value):
        raise ValueError("The path may have no empty segments, and none of dots: it could lead to another place.")
    return value


TicketPath = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PATH_LENGTH),
    BeforeValidator(clean_line),
    AfterValidator(_check_ticket_path),
]

_ID = Field(description="The organisation's id.", examples=[EXAMPLE_ID])
_NAME = Field(description="The organisation's name, without a web address.", examples=["Growfin"])
_DOMAIN = Field(description="The organisation's domain, in lower case and IDNA form.", examples=["growfin.com"])
_SANDBOX = Field(description="Whether the organisation's clock can be moved forward, to try out what takes days.")
_AutoCloseDays = Annotated[StrictInt, Field(ge=1, le=365), OF_ANY_SIZE]
_AUTO_CLOSE_DAYS = Field(
    description="How many days after a reply a ticket closes automatically. A change applies to later replies.",
    examples=[30],
)
_TIMEZONE = Field(description="The organisation's time zone (IANA).", examples=["Europe/Berlin"])
_SUPPORT_EMAIL = Field(
    description="The address that replies to mails are sent to; null for none.", examples=["help@growfin.com"]
)
_APP_URL = Field(
    description="The URL of your own front end, which links in mails lead to; null for Tessera's own pages.",
    examples=["https://desk.growfin.com"],
)
_ALLOWED_ORIGINS = Field(
    description="The origins of front ends whose pages may call this API in a browser, besides that of `appUrl`.",
    examples=[["https://desk.growfin.com"]],
)
_TICKET_PATH = Field(
    description="The page of a ticket in your own front end, below `appUrl`: `{id}` and `{reference}` stand for the "
    "ticket's. Mails lead there.",
    examples=["/tickets/{id}"],
)
_REQUIRE_2FA = Field(
    alias="require2fa",
    description="Whether admins and engineers must have a second factor. Those without one must set it up before they "
    "can do anything else.",
    examples=[False],
)


class OrganisationCreate(RequestModel):
    """A new organisation."""

    name: Annotated[OrganisationName, _NAME]
    domain: Annotated[
        OwnDomain,
        Field(
            description="The organisation's domain, in any case and script; stored in lower case and IDNA form.",
            examples=["growfin.com"],
        ),
    ]
    sandbox: Annotated[StrictBool, _SANDBOX, Field(examples=[True])] = False


class OrganisationCreated(ResponseModel):
    """The new organisation with its secret key, which is shown only once."""

    id: Annotated[UUID, _ID]
    name: Annotated[str, _NAME]
    domain: Annotated[str, _DOMAIN]
    sandbox: Annotated[bool, _SANDBOX]
    secret: Annotated[
        str,
        Field(
            description="The secret key. It is shown only once: keep it where your product keeps its secrets.",
            examples=["tsk_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLE"],
        ),
    ]
    created_at: CreatedAt


class Organisation(ResponseModel):
    """An organisation with its settings."""

    id: Annotated[UUID, _ID]
    name: Annotated[str, _NAME]
    domain: Annotated[str, _DOMAIN]
    domain_verified_at: Annotated[
        UtcTimestamp | None,
        Field(description="When the organisation proved that the domain is its own; null if it did not."),
    ]
    sandbox: Annotated[bool, _SANDBOX]
    now: Annotated[UtcTimestamp, Field(description="The time on the organisation's clock.")]
    auto_close_days: Annotated[int, _AUTO_CLOSE_DAYS]
    timezone: Annotated[str, _TIMEZONE]
    support_email: Annotated[str | None, _SUPPORT_EMAIL]
    app_url: Annotated[str | None, _APP_URL]
    unconfirmed_app_url: Annotated[
        str | None,
        Field(
            description="An `appUrl` that a user who is no admin has set with an earlier version. Nothing leads to it "
            "until an admin sets it as `appUrl`."
        ),
    ]
    allowed_origins: Annotated[list[str], _ALLOWED_ORIGINS]
    ticket_path: Annotated[str, _TICKET_PATH]
    require_2fa: Annotated[bool, _REQUIRE_2FA]
    created_at: CreatedAt

    @classmethod
    def of(cls, row: models.Organisation, now: datetime) -> Self:
        """Make the response from a row.

        Args:
            now: the organisation's time.
        """
        return cls(
            id=row.id,
            name=row.name,
            domain=row.domain,
            domain_verified_at=row.domain_verified_at,
            sandbox=row.sandbox,
            now=now,
            auto_close_days=row.auto_close_days,
            timezone=row.timezone,
            support_email=row.support_email,
            app_url=row.app_url,
            unconfirmed_app_url=row.unconfirmed_app_url,
            allowed_origins=row.allowed_origins,
            ticket_path=row.ticket_path,
            require_2fa=row.require_2fa,
            created_at=row.created_at,
        )


class OrganisationUpdate(RequestModel):
    """Changes to an organisation's settings. Fields that are not sent stay as they are."""

    name: Annotated[OrganisationName | MISSING, _NAME] = MISSING
    auto_close_days: Annotated[_AutoCloseDays | MISSING, _AUTO_CLOSE_DAYS] = MISSING
    timezone: Annotated[TimeZone | MISSING, _TIMEZONE] = MISSING
    support_email: Annotated[Email | MISSING | None, _SUPPORT_EMAIL] = MISSING
    app_url: Annotated[AppUrl | MISSING | None, _APP_URL] = MISSING
    allowed_origins: Annotated[AllowedOrigins | MISSING, _ALLOWED_ORIGINS] = MISSING
    ticket_path: Annotated[TicketPath | MISSING, _TICKET_PATH] = MISSING
    require_2fa: Annotated[StrictBool | MISSING, _REQUIRE_2FA] = MISSING

    def changes(self) -> OrganisationChanges:
        """Return the fields that were sent."""
        return OrganisationChanges(
            name=self.name,
            auto_close_days=self.auto_close_days,
            timezone=self.timezone,
            support_email=self.support_email,
            app_url=self.app_url,
            allowed_origins=self.allowed_origins,
            ticket_path=self.ticket_path,
            require_2fa=self.require_2fa,
        )


class ClockAdvance(RequestModel):
    """How far to move a sandbox's clock forward: the sum of the three, more than zero and at most 400 days."""

    days: Annotated[StrictInt, Field(ge=0, le=400, description="Days to move.", examples=[30]), OF_ANY_SIZE] = 0
    hours: Annotated[StrictInt, Field(ge=0, le=9_600, description="Hours to move, added to the days."), OF_ANY_SIZE] = 0
    seconds: Annotated[
        StrictInt, Field(ge=0, le=34_560_000, description="Seconds to move, added to both."), OF_ANY_SIZE
    ] = 0

    @model_validator(mode="after")
    def _check_total(self) -> Self:
        if not timedelta(0) < self.total() <= MAX_ADVANCE:
            raise ValueError("The sum must be more than zero and at most 400 days.")
        return self

    def total(self) -> timedelta:
        """Return the sum of the three."""
        return timedelta(days=self.days, hours=self.hours, seconds=self.seconds)


# The timers that run on the organisation's clock.
FiredKind = Literal["AUTO_CLOSE", "AUTO_CLOSE_REMINDER"]


def check_fired_kinds(kinds: Iterable[str]) -> None:
    """Check that `FiredKind` has exactly these kinds. A timer of another kind could fire, but not be described.

    Raises:
        TypeError
    """
    different = set(kinds) ^ set(get_args(FiredKind))
    if different:
        raise TypeError(f"FiredKind differs from the timers that a sandbox runs: {', '.join(sorted(different))}")


class FiredTimer(ResponseModel):
    """Something that came due while the clock moved, and has happened."""

    kind: Annotated[
        FiredKind,
        Field(description="What happened: the ticket closed, or its requester was reminded that it will close."),
    ]
    ticket_id: Annotated[UUID, Field(description="The ticket that it happened to.", examples=[EXAMPLE_ID])]
    due_at: Annotated[UtcTimestamp, Field(description="When it was due, on the organisation's clock.")]


class ClockAdvanceResult(ResponseModel):
    """The clock after the move, and what happened on the way."""

    now: Annotated[UtcTimestamp, Field(description="The time on the organisation's clock.")]
    fired: Annotated[list[FiredTimer], Field(description="What came due, in the order in which it happened.")]


def fired_timer(tenant: Tenant, kind: str, subject_id: UUID, due_at: datetime) -> FiredTimer:
    """Describe a timer that fired, with its due time on the organisation's clock.

    Args:
        due_at: real time.
    """
    return FiredTimer(kind=cast("FiredKind", kind), ticket_id=subject_id, due_at=tenant.organisation_time(due_at))

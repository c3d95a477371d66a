"""What crosses the wire about organisations."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints, model_validator

from app.access.tenant import Tenant
from app.core.config import is_safe_url
from app.core.fields import Domain, Email, In, Name, Out, OutTime, TimeZone
from app.organisations.models import Organisation

MAX_ADVANCE = timedelta(days=400)
MAX_URL_LENGTH = 200
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
# Scheme, host, port and path. What is not in it is no part of an address (RFC 3986), or of no use in one that a path
# and a token are added to: a user, a query, a fragment.
_ADDRESS = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(?P<port>:[0-9]{{1,5}})?"
    r"(?P<path>(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)",
    re.IGNORECASE | re.ASCII,
)


def normalise_url(value: str) -> str:
    """An address that others can be made of by adding a path: without a slash at its end.

    Raises:
        ValueError: it is none, or not encrypted on its way to another machine.
    """
    found = _ADDRESS.fullmatch(value)
    if found is None:
        raise ValueError("This is not an address such as https://desk.growfin.com/app, without a query and a fragment.")
    scheme, host = found["scheme"].lower(), found["host"].lower()
    if host.startswith("["):
        ipaddress.IPv6Address(host[1:-1])
    if int((found["port"] or ":443")[1:]) not in range(1, 65_536):
        raise ValueError("There is no such port.")
    normalised = f"{scheme}://{host}{found['port'] or ''}{found['path'].rstrip('/')}"
    if not is_safe_url(normalised):
        raise ValueError("It must begin with https://, but for this machine itself.")
    return normalised


AppUrl = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_URL_LENGTH),
    AfterValidator(normalise_url),
]


class OrganisationIn(In):
    """A new organisation."""

    name: Annotated[Name, Field(examples=["Growfin"])]
    domain: Annotated[
        Domain, Field(description="In any case or script; kept in lower case and IDNA form.", examples=["growfin.com"])
    ]
    sandbox: Annotated[
        StrictBool,
        Field(description="Whether its clock may be moved forward, to try out what takes days.", examples=[True]),
    ] = False


class OrganisationCreated(Out):
    """The new organisation, with its secret for the only time."""

    id: UUID
    name: Annotated[str, Field(examples=["Growfin"])]
    domain: Annotated[str, Field(examples=["growfin.com"])]
    sandbox: bool
    secret: Annotated[
        str,
        Field(
            description="Shown this once: keep it where your product keeps its secrets.",
            examples=["tsk_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLE"],
        ),
    ]
    created_at: OutTime


class OrganisationOut(Out):
    """An organisation's settings."""

    id: UUID
    name: Annotated[str, Field(examples=["Growfin"])]
    domain: Annotated[str, Field(examples=["growfin.com"])]
    sandbox: bool
    now: Annotated[OutTime, Field(description="The organisation's clock.")]
    auto_close_days: Annotated[int, Field(examples=[30])]
    timezone: Annotated[str, Field(examples=["Europe/Berlin"])]
    support_email: Annotated[str | None, Field(examples=["help@growfin.com"])]
    app_url: Annotated[str | None, Field(examples=["https://desk.growfin.com"])]
    require_2fa: Annotated[bool, Field(alias="require2fa", examples=[False])]
    created_at: OutTime

    @classmethod
    def of(cls, row: Organisation, now: datetime) -> Self:
        """The answer about this row at `now` (the organisation's time)."""
        return cls(
            id=row.id,
            name=row.name,
            domain=row.domain,
            sandbox=row.sandbox,
            now=now,
            auto_close_days=row.auto_close_days,
            timezone=row.timezone,
            support_email=row.support_email,
            app_url=row.app_url,
            require_2fa=row.require_2fa,
            created_at=row.created_at,
        )


class OrganisationChange(In):
    """Any of the settings that an admin may change."""

    name: Annotated[Name, Field(examples=["Growfin"])] = None  # type: ignore[assignment]
    auto_close_days: Annotated[
        StrictInt,
        Field(
            ge=1, le=365, description="Days from an answer to the auto-close; for answers from now on.", examples=[30]
        ),
    ] = None  # type: ignore[assignment]
    timezone: Annotated[TimeZone, Field(examples=["Europe/Berlin"])] = None  # type: ignore[assignment]
    support_email: Annotated[
        Email | None, Field(description="Where replies to mails go; null for none.", examples=["help@growfin.com"])
    ] = None
    app_url: Annotated[
        AppUrl | None,
        Field(
            description="Where links in mails lead: the address of your own front end; null for Tessera's own pages.",
            examples=["https://desk.growfin.com"],
        ),
    ] = None
    require_2fa: Annotated[
        StrictBool,
        Field(
            alias="require2fa",
            description="Whether admins and engineers must have a second factor. Those who have none can do nothing "
            "else until they have set it up.",
            examples=[False],
        ),
    ] = None  # type: ignore[assignment]


class ClockAdvance(In):
    """How far to move a sandbox's clock: the sum, over zero and at most 400 days."""

    days: Annotated[StrictInt, Field(ge=0, le=400, examples=[30])] = 0
    hours: Annotated[StrictInt, Field(ge=0, le=9_600)] = 0
    seconds: Annotated[StrictInt, Field(ge=0, le=34_560_000)] = 0

    @model_validator(mode="after")
    def _moves_forward(self) -> Self:
        if not timedelta(0) < self.total() <= MAX_ADVANCE:
            raise ValueError("The sum must be more than zero and at most 400 days.")
        return self

    def total(self) -> timedelta:
        """The sum of the three."""
        return timedelta(days=self.days, hours=self.hours, seconds=self.seconds)


class FiredTimer(Out):
    """Something that came due on the way, and has happened."""

    kind: Annotated[str, Field(examples=["AUTO_CLOSE"])]
    ticket_id: UUID
    due_at: OutTime


class ClockAdvanced(Out):
    """The clock after the move."""

    now: OutTime
    fired: list[FiredTimer]


def fired_timer(tenant: Tenant, kind: str, subject_id: UUID, due_at: datetime) -> FiredTimer:
    """A fired timer, whose `due_at` is real time, as the organisation sees it."""
    return FiredTimer(kind=kind, ticket_id=subject_id, due_at=tenant.organisation_time(due_at))

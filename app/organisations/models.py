"""Organisations and their secret keys: directory tables, which are read before a request's organisation is known."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Interval, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.core.database.base import DIRECTORY_TABLE, Base, TextEnum, one_of


class OrganisationStatus(StrEnum):
    """The status of an organisation. Users and products of a suspended one cannot do anything."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


class Organisation(Base):
    """A tenant. `clock_offset` is zero except in a sandbox.

    Links in mails lead to `app_url`, or else to Tessera's own pages. So only an admin who has just signed in may set
    it. `unconfirmed_app_url` is one from before this rule, which a user who is no admin had set: nothing leads to it.
    Browsers of its origin (`app_origin`) and of `allowed_origins` may read responses. `domain_verified_at` is when the
    organisation proved that `domain` is its own. `reference_prefix` is that of an earlier domain, which the references
    of its tickets keep.
    """

    __tablename__ = "organisations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    domain: Mapped[str]
    domain_verified_at: Mapped[datetime | None]
    reference_prefix: Mapped[str | None]
    sandbox: Mapped[bool]
    status: Mapped[OrganisationStatus] = mapped_column(TextEnum(OrganisationStatus), server_default=text("'ACTIVE'"))
    clock_offset: Mapped[timedelta] = mapped_column(Interval, server_default=text("'0'"))
    auto_close_days: Mapped[int]
    timezone: Mapped[str]
    support_email: Mapped[str | None]
    app_url: Mapped[str | None]
    app_origin: Mapped[str | None]
    unconfirmed_app_url: Mapped[str | None]
    allowed_origins: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    ticket_path: Mapped[str] = mapped_column(default="/tickets/{id}", server_default=text("'/tickets/{id}'"))
    require_2fa: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("domain"),
        one_of("status", tuple(OrganisationStatus)),
        Index("ix_organisations_app_origin", "app_origin"),
        Index("ix_organisations_allowed_origins", "allowed_origins", postgresql_using="gin"),
        CheckConstraint("sandbox OR clock_offset = interval '0'", name="clock_of_a_sandbox"),
        DIRECTORY_TABLE,
    )

    @validates("app_url")
    def _set_app_origin(self, _name: str, app_url: str | None) -> str | None:
        self.app_origin = app_url and "/".join(app_url.split("/")[:3])
        return app_url


class SecretKey(Base):
    """A secret key of an organisation, as its SHA-256. Revoked keys stay, to distinguish their use from guesses."""

    __tablename__ = "secret_keys"

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_secret_keys_hash", "hash", unique=True), DIRECTORY_TABLE)

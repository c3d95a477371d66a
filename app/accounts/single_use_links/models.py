"""Links that can be used once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base, TextEnum, one_of


class LinkPurpose(StrEnum):
    """The single-use operation that a link's token permits."""

    VERIFY_EMAIL = "VERIFY_EMAIL"
    CHANGE_EMAIL = "CHANGE_EMAIL"
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105 - a name
    INVITATION = "INVITATION"
    SIGN_IN = "SIGN_IN"  # completes a social sign-in; never mailed
    VERIFY_DOMAIN = "VERIFY_DOMAIN"  # mailed to the postmaster of a domain, not to the user who asked for it


# The paths that mailed links lead to, in the organisation's front end or on Tessera's own pages. A postmaster is a
# stranger, whom no organisation may lead to a page of its own.
PAGES: Mapping[str, str] = {
    LinkPurpose.VERIFY_EMAIL: "/verify-email",
    LinkPurpose.CHANGE_EMAIL: "/confirm-email",
    LinkPurpose.RESET_PASSWORD: "/reset-password",
    LinkPurpose.INVITATION: "/accept-invitation",
    LinkPurpose.VERIFY_DOMAIN: "/verify-domain",
}


class Link(Base):
    """A link that was issued and not used yet. Its token is derived from the row's id and the secret key.

    `email` is the address that the link was sent to; using the link verifies it, or its domain. `password_hash`, on a
    link that changes the e-mail, is the password hashed with the salt of the new address. `remembered` is whether the
    sign-in opens a session of 30 days. `requested_from` is the address of the client that asked for the link, if known.
    """

    __tablename__ = "links"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    purpose: Mapped[LinkPurpose] = mapped_column(TextEnum(LinkPurpose))
    email: Mapped[str]
    password_hash: Mapped[str | None]
    requested_from: Mapped[str | None]
    remembered: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),
        one_of("purpose", tuple(LinkPurpose)),
        Index("ix_links_org_id_user_id_purpose", "org_id", "user_id", "purpose"),
        Index("ix_links_org_id_expires_at", "org_id", "expires_at"),
    )

    @classmethod
    def not_expired_condition(cls, now: datetime) -> ColumnElement[bool]:
        """Return the condition that a link has not expired (real time)."""
        return cls.expires_at > now

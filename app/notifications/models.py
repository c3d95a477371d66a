"""The content of mails. Whether and when one was sent is in its delivery."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import Base


class OutsideRecipient(Base):
    """An address outside the organisation that got mail in the last 24 hours, as a hash.

    Only organisations whose domain is not proved have such rows, and only if the installation limits their mails.
    """

    __tablename__ = "outside_recipients"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    address_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    mailed_at: Mapped[datetime]

    __table_args__ = (Index("ix_outside_recipients_org_id_mailed_at", "org_id", "mailed_at"),)


class Mail(Base):
    """The content of the delivery with the same id. `created_at` is the time of the delivery's creation.

    If the texts have a link that ends in a token, `link` is the link without the token, and `link_id` is the id from
    which the token is made. `user_id` is the user whose account the mail was written to, even if their address has
    changed since. `author_id` is the user whom the mail names.

    Every index but the primary key is partial, even if its condition is true of all rows: see `Delivery`.
    """

    __tablename__ = "mails"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    recipient: Mapped[str]
    subject: Mapped[str]
    body_text: Mapped[str]
    body_html: Mapped[str | None]
    sender_name: Mapped[str | None]
    reply_to: Mapped[str | None]
    link: Mapped[str | None]
    link_id: Mapped[UUID | None]
    ticket_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    author_id: Mapped[UUID | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "id"], ["deliveries.org_id", "deliveries.id"]),
        Index(
            "ix_mails_of_ticket", "org_id", "ticket_id", "created_at", "id",
            postgresql_where=text("ticket_id IS NOT NULL"),
        ),
        Index("ix_mails_of_recipient", "org_id", "recipient", postgresql_where=text("recipient IS NOT NULL")),
        Index("ix_mails_of_user", "org_id", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        Index("ix_mails_of_author", "org_id", "author_id", postgresql_where=text("author_id IS NOT NULL")),
    )  # fmt: skip

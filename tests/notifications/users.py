"""Users of an organisation, events about them, and the resulting mails."""

from __future__ import annotations

import email.policy
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import and_, select, text

from app import wiring
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users import creation as service
from app.accounts.users.events import UserEvent
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.config import Settings
from app.core.ids import new_id
from app.core.outbox import relay
from app.core.outbox.events import SYSTEM, Event, record
from app.core.outbox.models import Delivery
from app.notifications.models import Mail
from tests.organisation_client import JSON, Desk


def unique_address() -> str:
    """Return an address that no other test writes to."""
    return f"p{uuid4().hex}@customer.example"


async def add_user(desk: Desk, **columns: Any) -> User:
    """Add a user without a password: a customer, unless `columns` say otherwise."""
    user = User(
        **{
            "org_id": desk.id,
            "id": new_id(),
            "first_name": "Mia",
            "last_name": "Holm",
            "email": unique_address(),
            "role_kind": "CUSTOMER",
            "status": "ACTIVE",
            "available": False,
            "created_at": real_now(),
            **columns,
        }
    )
    async with desk.database.session(desk.id) as db:
        await service.add_user(db, user, None)
    return user


E = TypeVar("E", bound=UserEvent)


def make_event(kind: type[E], user: User, **fields: Any) -> E:
    """Make an event about a user with the current time."""
    return kind(at=real_now(), actor=SYSTEM, user_id=user.id, **fields)


async def record_and_relay(desk: Desk, *events: Event) -> None:
    """Record these events in one transaction and relay them to the subscribers."""
    async with desk.database.session(desk.id) as db:
        record(db, *events)
    await relay_events(desk)


async def relay_events(desk: Desk) -> None:
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)


async def request_link(desk: Desk, user: User, purpose: LinkPurpose, address: str | None = None) -> Link:
    """Request a link for a user. The worker mails it later."""
    async with desk.database.session(desk.id) as db:
        links.send(db, desk.id, user.id, address or user.email, purpose, at=real_now(), actor=SYSTEM)
        await db.flush()
        conditions = (Link.org_id == desk.id, Link.user_id == user.id, Link.purpose == purpose)
        link = await db.scalar(select(Link).where(*conditions).order_by(Link.id.desc()).limit(1))
        assert link is not None
        return link


@dataclass(frozen=True)
class LoggedMail:
    """The row of a mail, with the status of its delivery."""

    org_id: UUID
    id: UUID
    recipient: str
    subject: str
    body_text: str
    body_html: str | None
    sender_name: str | None
    reply_to: str | None
    link: str | None
    link_id: UUID | None
    ticket_id: UUID | None
    user_id: UUID | None
    author_id: UUID | None
    created_at: datetime
    channel: str
    status: str
    last_error: str | None


async def read_mails_to(desk: Desk, address: str) -> list[LoggedMail]:
    """Read the mails to an address, oldest first."""
    statement = (
        select(*Mail.__table__.columns, Delivery.channel, Delivery.status, Delivery.last_error)
        .join(Delivery, and_(Delivery.org_id == Mail.org_id, Delivery.id == Mail.id))
        .where(Mail.org_id == desk.id, Mail.recipient == address)
        .order_by(Mail.id)
    )
    async with desk.database.session(desk.id) as db:
        return [LoggedMail(**row._asdict()) for row in await db.execute(statement)]


async def read_notification(desk: Desk, delivery_id: UUID) -> JSON:
    """Read a mail through the notification log."""
    answer = await desk.admin.get(f"/notifications/{delivery_id}")
    assert answer.status_code == 200, answer.text
    read: JSON = answer.json()
    return read


async def execute_sql(desk: Desk, statement: str, **values: object) -> None:
    """Execute a statement in the organisation, without the service."""
    async with desk.database.session(desk.id) as db:
        await db.execute(text(statement), {"org": desk.id, **values})


def read_files_to(settings: Settings, address: str) -> list[EmailMessage]:
    """Read the mails to an address that were written to files."""
    found = [message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in settings.mail_dir.iterdir()]
    return [mail for mail in found if mail["To"] == address]


def get_parts(mail: EmailMessage) -> tuple[str, str]:
    """Return a mail's plain text and its HTML."""
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    return plain.get_content().replace("\r\n", "\n"), html.get_content().replace("\r\n", "\n")

"""Users of an organisation, what happens to them, and what is mailed about it."""

from __future__ import annotations

import email.policy
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text

from app import wiring
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, Purpose
from app.accounts.users import creation as service
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.config import Settings
from app.core.ids import new_id
from app.core.outbox import relay
from app.core.outbox.events import SYSTEM, Event, record
from app.core.outbox.models import Delivery
from tests.organisation_client import JSON, Desk


def an_address() -> str:
    """One that nothing else is written to."""
    return f"p{uuid4().hex}@customer.example"


async def somebody(desk: Desk, **columns: Any) -> User:
    """A customer of the organisation unless told otherwise, without a password."""
    user = User(
        **{
            "org_id": desk.id,
            "id": new_id(),
            "first_name": "Mia",
            "last_name": "Holm",
            "email": an_address(),
            "role": "CUSTOMER",
            "status": "ACTIVE",
            "available": False,
            "created_at": real_now(),
            **columns,
        }
    )
    async with desk.database.session(desk.id) as db:
        await service.add(db, user, None)
    return user


def news(kind: type[Any], user: User, **fields: Any) -> Event:
    """Something that happened to somebody just now."""
    event: Event = kind(at=real_now(), actor=SYSTEM, user_id=user.id, **fields)
    return event


async def happen(desk: Desk, *events: Event) -> None:
    """Let these happen in one transaction, and the subscribers hear of them."""
    async with desk.database.session(desk.id) as db:
        record(db, *events)
    await relay_events(desk)


async def relay_events(desk: Desk) -> None:
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)


async def request_link(desk: Desk, user: User, purpose: Purpose, address: str | None = None) -> Link:
    """Have a link mailed to somebody, up to the worker's part."""
    async with desk.database.session(desk.id) as db:
        links.send(db, desk.id, user.id, address or user.email, purpose, at=real_now(), actor=SYSTEM)
        await db.flush()
        which = (Link.org_id == desk.id, Link.user_id == user.id, Link.purpose == purpose)
        link = await db.scalar(select(Link).where(*which).order_by(Link.id.desc()).limit(1))
        assert link is not None
        return link


async def deliveries_to(desk: Desk, address: str) -> list[Delivery]:
    """What was queued to an address, oldest first."""
    async with desk.database.session(desk.id) as db:
        which = (Delivery.org_id == desk.id, Delivery.recipient == address)
        return list(await db.scalars(select(Delivery).where(*which).order_by(Delivery.id)))


async def shown(desk: Desk, delivery_id: UUID) -> JSON:
    """A mail as the notification log shows it."""
    answer = await desk.admin.get(f"/notifications/{delivery_id}")
    assert answer.status_code == 200, answer.text
    read: JSON = answer.json()
    return read


async def rewrite(desk: Desk, statement: str, **values: object) -> None:
    """Change the organisation's rows past the service."""
    async with desk.database.session(desk.id) as db:
        await db.execute(text(statement), {"org": desk.id, **values})


def files_to(settings: Settings, address: str) -> list[EmailMessage]:
    """The mails that were written to files."""
    found = [message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in settings.mail_dir.iterdir()]
    return [mail for mail in found if mail["To"] == address]


def parts(mail: EmailMessage) -> tuple[str, str]:
    """A mail's plain text and its HTML."""
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    return plain.get_content().replace("\r\n", "\n"), html.get_content().replace("\r\n", "\n")

"""Links in mails: issued, and used once."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.tenant import Tenant
from app.accounts.single_use_links.events import LinkRequested
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.core.clock import real_now
from app.core.errors import BadInput, FieldError
from app.core.ids import new_id
from app.core.outbox.events import Actor, record
from app.core.security.opaque_tokens import TokenSubject, read_link_token
from app.organisations.queries import active

LIFETIMES = {
    LinkPurpose.VERIFY_EMAIL: timedelta(days=3),
    LinkPurpose.CHANGE_EMAIL: timedelta(days=1),
    LinkPurpose.RESET_PASSWORD: timedelta(minutes=30),
    LinkPurpose.INVITATION: timedelta(days=7),
    LinkPurpose.SIGN_IN: timedelta(minutes=1),
}


class LinkExpired(BadInput):
    """No link has this token, or not any more; or it is for something else."""

    code = "link_expired"
    title = "This link is not valid: it was used, has expired, or was replaced. Ask for another one."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("token", self.title)])


def issue(
    db: AsyncSession, org_id: UUID, user_id: UUID, email: str, purpose: LinkPurpose, *, password_hash: str | None = None
) -> Link:
    """A new link, of which nobody is told; earlier ones stay valid until one of them is used."""
    now = real_now()
    link = Link(
        org_id=org_id,
        id=new_id(),
        user_id=user_id,
        purpose=purpose,
        email=email,
        password_hash=password_hash,
        created_at=now,
        expires_at=now + LIFETIMES[purpose],
    )
    db.add(link)
    return link


def send(
    db: AsyncSession,
    org_id: UUID,
    user_id: UUID,
    email: str,
    purpose: LinkPurpose,
    *,
    at: datetime,
    actor: Actor,
    password_hash: str | None = None,
) -> Link:
    """Issue a link and have it mailed to `email`.

    Args:
        at: the organisation's time, of the event.
    """
    link = issue(db, org_id, user_id, email, purpose, password_hash=password_hash)
    record(db, LinkRequested(at=at, actor=actor, user_id=user_id, link_id=link.id, purpose=purpose))
    return link


def read(secret_key: str, token: str) -> TokenSubject:
    """The link that a token is of, and its organisation; whether there is one is not looked up.

    Raises:
        LinkExpired: nobody has been sent this.
    """
    try:
        return read_link_token(secret_key, token)
    except ValueError:
        raise LinkExpired from None


async def find(db: AsyncSession, named: TokenSubject, *purposes: LinkPurpose) -> Link:
    """A link that can still be used, for one of these purposes; it is not used up by this.

    Raises:
        LinkExpired
    """
    link = await db.scalar(
        select(Link).where(
            Link.org_id == named.org_id, Link.id == named.id, Link.purpose.in_(purposes), Link.expires_at > real_now()
        )
    )
    if link is None:
        raise LinkExpired
    return link


async def tenant_of(db: AsyncSession, link: Link) -> Tenant:
    """The organisation that a link is of.

    Raises:
        LinkExpired: it is suspended.
    """
    tenant = await active(db, link.org_id)
    if tenant is None:
        raise LinkExpired
    return tenant


async def use(db: AsyncSession, named: TokenSubject, purpose: LinkPurpose) -> Link:
    """Use a link up, and with it all others that its user has for the same purpose. Of two at once, one is refused.

    Raises:
        LinkExpired
    """
    link: Link | None = await db.scalar(
        delete(Link)
        .where(Link.org_id == named.org_id, Link.id == named.id, Link.purpose == purpose, Link.expires_at > real_now())
        .returning(Link)
    )
    if link is None:
        raise LinkExpired
    await cancel(db, named.org_id, link.user_id, purpose)
    return link


async def cancel(db: AsyncSession, org_id: UUID, user_id: UUID, *purposes: LinkPurpose) -> None:
    """Let somebody's links of these purposes lead nowhere."""
    await db.execute(delete(Link).where(Link.org_id == org_id, Link.user_id == user_id, Link.purpose.in_(purposes)))


async def delete_expired(db: AsyncSession, org_id: UUID, now: datetime, *, batch: int = 1000) -> int:
    """Delete links that nobody can use any more; returns how many, at most a batch."""
    expired = (
        select(Link.id).where(Link.org_id == org_id, Link.expires_at <= now).order_by(Link.expires_at).limit(batch)
    )
    deleted = await db.scalars(delete(Link).where(Link.org_id == org_id, Link.id.in_(expired)).returning(Link.id))
    return len(deleted.all())

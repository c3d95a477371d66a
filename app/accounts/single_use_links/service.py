"""Issue single-use links for mails, and consume them."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.tenant import Tenant
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.events import LinkRequested
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.outbox.events import Actor, record
from app.core.security.opaque_tokens import TokenSubject, read_link_token
from app.organisations.queries import find_active

LIFETIMES = {
    LinkPurpose.VERIFY_EMAIL: timedelta(days=3),
    LinkPurpose.CHANGE_EMAIL: timedelta(days=1),
    LinkPurpose.RESET_PASSWORD: timedelta(minutes=30),
    LinkPurpose.INVITATION: timedelta(days=7),
    LinkPurpose.SIGN_IN: timedelta(minutes=1),
    LinkPurpose.VERIFY_DOMAIN: timedelta(days=1),
}


def issue(
    db: AsyncSession, org_id: UUID, user_id: UUID, email: str, purpose: LinkPurpose, *, password_hash: str | None = None
) -> Link:
    """Issue a link without mailing it. Earlier links stay valid until one of them is used."""
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
    requested_from: str | None = None,
) -> Link:
    """Issue a link and mail it to `email`.

    Args:
        at: the organisation's time.
        requested_from: the address of the client that asked for the link.
    """
    link = issue(db, org_id, user_id, email, purpose, password_hash=password_hash)
    link.requested_from = requested_from
    record(db, LinkRequested(at=at, actor=actor, user_id=user_id, link_id=link.id, purpose=purpose))
    return link


def parse_token(secret_key: str, token: str) -> TokenSubject:
    """Return the ids of a token's link and organisation. Does not check that the link exists.

    Raises:
        LinkExpired: the token was not made by this service.
    """
    try:
        return read_link_token(secret_key, token)
    except ValueError:
        raise LinkExpired from None


async def find(db: AsyncSession, subject: TokenSubject, *purposes: LinkPurpose) -> Link:
    """Return a link that can still be used for one of these purposes, without using it.

    Raises:
        LinkExpired
    """
    link = await db.scalar(
        select(Link).where(
            Link.org_id == subject.org_id,
            Link.id == subject.id,
            Link.purpose.in_(purposes),
            Link.not_expired_condition(real_now()),
        )
    )
    if link is None:
        raise LinkExpired
    return link


async def get_tenant(db: AsyncSession, link: Link) -> Tenant:
    """Return the organisation of a link.

    Raises:
        LinkExpired: the organisation is suspended.
    """
    tenant = await find_active(db, link.org_id)
    if tenant is None:
        raise LinkExpired
    return tenant


async def use(db: AsyncSession, subject: TokenSubject, purpose: LinkPurpose) -> Link:
    """Use a link, and cancel the user's other links of the same purpose. Of two concurrent uses, one is refused.

    Raises:
        LinkExpired
    """
    link: Link | None = await db.scalar(
        delete(Link)
        .where(
            Link.org_id == subject.org_id,
            Link.id == subject.id,
            Link.purpose == purpose,
            Link.not_expired_condition(real_now()),
        )
        .returning(Link)
    )
    if link is None:
        raise LinkExpired
    await cancel(db, subject.org_id, link.user_id, purpose)
    return link


async def cancel(db: AsyncSession, org_id: UUID, user_id: UUID, *purposes: LinkPurpose) -> None:
    """Delete a user's links of these purposes."""
    await db.execute(delete(Link).where(Link.org_id == org_id, Link.user_id == user_id, Link.purpose.in_(purposes)))


async def delete_expired(db: AsyncSession, org_id: UUID, now: datetime, *, batch: int = 1000) -> int:
    """Delete a batch of expired links; return their number."""
    expired = (
        select(Link.id)
        .where(Link.org_id == org_id, ~Link.not_expired_condition(now))
        .order_by(Link.expires_at)
        .limit(batch)
    )
    deleted = await db.scalars(delete(Link).where(Link.org_id == org_id, Link.id.in_(expired)).returning(Link.id))
    return len(deleted.all())

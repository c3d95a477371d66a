"""Who is told what about accounts by mail: links, news for their owners, requests for the admins.

Nobody is greeted by name: names and addresses are what somebody typed, and a mail to a stranger should not say it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import all_, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import RoleKind
from app.access.tenant import Tenant
from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.single_use_links.models import PAGES, Link
from app.accounts.users.events import EmailChanged, EmailClaimed, PasswordChanged, UserApproved, UserRejected
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus, is_somebodys
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.sessions.events import SessionRevoked
from app.authentication.social.events import IdentityLinked
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.outbox import deliveries
from app.core.outbox.deliveries import Draft
from app.core.outbox.events import Event, StoredEvent
from app.core.outbox.models import Delivery
from app.notifications.drafts import draft
from app.notifications.links import PLACEHOLDER
from app.organisations.queries import tenant

MAX_ADMINS = 100  # who are told of a sign-up
# To each of them in an hour: anybody can ask for accounts, and any number of them.
MAX_REQUESTS = 20

# Event -> the template of what its user is told.
NEWS: Mapping[str, str] = {
    UserApproved.type: "account_approved",
    UserRejected.type: "account_rejected",
    EmailClaimed.type: "email_claimed",
    PasswordChanged.type: "password_changed",
    SecondFactorEnabled.type: "second_factor_enabled",
    SecondFactorDisabled.type: "second_factor_disabled",
    SessionRevoked.type: "session_revoked",
    IdentityLinked.type: "identity_linked",
}


async def mail_link(db: AsyncSession, org_id: UUID, events: Sequence[StoredEvent]) -> None:
    """On `user.link_requested`, unless the link was used, replaced or taken back meanwhile, or has expired."""
    organisation = await tenant(db, org_id)
    links = await db.scalars(
        select(Link)
        .join(User, and_(User.org_id == org_id, User.id == Link.user_id))
        .where(
            Link.org_id == org_id,
            Link.id.in_([UUID(event.data["linkId"]) for event in events]),
            Link.purpose.in_(list(PAGES)),
            Link.expires_at > real_now(),
            User.status != AccountStatus.ERASED,
        )
        .order_by(Link.id)
    )
    drafts = [_link_mail(organisation, link) for link in links if is_somebodys(link.email)]
    await deliveries.queue(db, org_id, drafts)


def _link_mail(organisation: Tenant, link: Link) -> Draft:
    return _draft(
        organisation,
        link.purpose.lower(),
        link.email,
        link.user_id,
        {"link": PLACEHOLDER, "expires_at": link.expires_at},
        link=(organisation.app_url or "") + PAGES[link.purpose],
        link_id=link.id,
    )


async def mail_sign_up_requests(db: AsyncSession, org_id: UUID, events: Sequence[StoredEvent]) -> None:
    """On `user.signed_up`: the admins are told that somebody waits for their approval, so many times in an hour.

    Not who: a mail that named them would outlast their erasure.
    """
    ids = [UUID(event.data["userId"]) for event in events if event.data.get("status") == AccountStatus.PENDING]
    if not ids:
        return
    waiting = await db.scalars(
        select(User)
        .where(User.org_id == org_id, User.id.in_(ids), User.status == AccountStatus.PENDING)
        .order_by(User.id)
    )
    organisation = await tenant(db, org_id)
    admins = await _admins_who_want(db, org_id, MailKind.SIGN_UP_REQUESTS)
    requests = [_draft(organisation, "sign_up_requested", "", None, {"role": user.role}) for user in waiting]
    told = await _told_lately(db, org_id, list(admins.values()), {request.subject for request in requests})
    drafts = [
        replace(request, recipient=email, user_id=admin_id, id=new_id())
        for admin_id, email in admins.items()
        for request in requests[: max(0, MAX_REQUESTS - told.get(email, 0))]
    ]
    await deliveries.queue(db, org_id, drafts)


async def _told_lately(
    db: AsyncSession, org_id: UUID, recipients: Sequence[str], subjects: Collection[str]
) -> Mapping[str, int]:
    """How many mails with one of these subjects each of the recipients was sent in the last hour, if any."""
    rows = await db.execute(
        select(Delivery.recipient, func.count().label("told"))
        .where(
            Delivery.org_id == org_id,
            Delivery.recipient.in_(recipients),
            Delivery.subject.in_(subjects),
            Delivery.created_at > real_now() - timedelta(hours=1),
        )
        .group_by(Delivery.recipient)
    )
    return {row.recipient: row.told for row in rows}


async def _admins_who_want(db: AsyncSession, org_id: UUID, kind: MailKind) -> Mapping[UUID, str]:
    """The organisation's active admins with their addresses; of very many, the first."""
    found = await db.execute(
        select(User.id, User.email)
        .where(
            User.org_id == org_id,
            User.role == RoleKind.ADMIN,
            User.status == AccountStatus.ACTIVE,
            literal(kind.value) != all_(User.muted),
        )
        .order_by(User.id)
        .limit(MAX_ADMINS)
    )
    return {admin_id: email for admin_id, email in found if is_somebodys(email)}


async def mail_news(db: AsyncSession, org_id: UUID, events: Sequence[StoredEvent]) -> None:
    """On the events of `NEWS`; the same news of one batch is told once."""
    organisation = await tenant(db, org_id)
    ids = {UUID(event.data["userId"]) for event in events}
    found = await db.scalars(
        select(User).where(User.org_id == org_id, User.id.in_(ids), User.status != AccountStatus.ERASED)
    )
    users = {user.id: user for user in found if is_somebodys(user.email)}
    told = {
        (event.type, user.id): _draft(organisation, NEWS[event.type], user.email, user.id, _news(user, event))
        for event in events
        if (user := users.get(UUID(event.data["userId"])))
    }
    await deliveries.queue(db, org_id, list(told.values()))


def _news(user: User, event: StoredEvent) -> dict[str, Any]:
    return {
        "reason": user.status_reason,
        "invited": user.status == AccountStatus.INVITED,
        "provider": event.data.get("provider"),
    }


async def mail_the_old_address(db: AsyncSession, org_id: UUID, event: Event) -> None:
    """On `user.email_changed`, in its transaction: the old address is stored nowhere that could be read later."""
    assert isinstance(event, EmailChanged)
    if not is_somebodys(event.old_email):
        return
    organisation = await tenant(db, org_id)
    # Read from the database: the change need not have been made on an object of this session.
    new_email = await db.scalar(select(User.email).where(User.org_id == org_id, User.id == event.user_id)) or ""
    told = _draft(organisation, "email_changed", event.old_email, event.user_id, {"new_email": masked(new_email)})
    await deliveries.queue(db, org_id, [told])


def masked(email: str) -> str:
    """Enough of an address for its owner to know it by: `a•••@growfin.com`."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def _draft(
    organisation: Tenant,
    template: str,
    recipient: str,
    user_id: UUID | None,
    context: Mapping[str, Any],
    *,
    link: str | None = None,
    link_id: UUID | None = None,
) -> Draft:
    subject = f"[{organisation.name}] {template.replace('_', ' ').capitalize()}"
    return draft(
        organisation, template, recipient, context, subject=subject, user_id=user_id, link=link, link_id=link_id
    )

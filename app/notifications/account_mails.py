"""Mails about accounts: links, notices to account owners, sign-up requests to admins.

These mails greet no user by name. Any visitor can enter names and addresses, and a mail to a stranger must not repeat
them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import all_, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.tenant import Tenant
from app.access.user_permissions import RoleKind
from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.single_use_links.events import LinkRequested
from app.accounts.single_use_links.models import PAGES, Link, LinkPurpose
from app.accounts.users.events import (
    EmailChanged,
    EmailClaimed,
    PasswordChanged,
    UserApproved,
    UserEvent,
    UserRejected,
    UserSignedUp,
)
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.sessions.events import SessionRevoked
from app.authentication.social.events import IdentityLinked
from app.core.clock import real_now
from app.core.email_addresses import is_deliverable
from app.core.ids import new_id
from app.core.outbox.events import Recorded
from app.notifications import mails
from app.notifications.drafts import write_draft
from app.notifications.links import PLACEHOLDER
from app.notifications.mails import MailDraft
from app.notifications.models import Mail
from app.notifications.rendering import ContextValue
from app.organisations.events import OrganisationDomainLost
from app.organisations.queries import get_tenant

MAX_ADMINS = 100  # admins who are notified of a sign-up
# To each of these admins. The limit is needed because a visitor can sign up any number of accounts.
MAX_SIGN_UP_MAILS_PER_HOUR = 20

# Event -> the template of the mail to its user.
ACCOUNT_NOTICES: Mapping[type[UserEvent], str] = {
    UserApproved: "account_approved",
    UserRejected: "account_rejected",
    EmailClaimed: "email_claimed",
    PasswordChanged: "password_changed",
    SecondFactorEnabled: "second_factor_enabled",
    SecondFactorDisabled: "second_factor_disabled",
    SessionRevoked: "session_revoked",
    IdentityLinked: "identity_linked",
}


async def mail_link(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[LinkRequested]]) -> None:
    """Mail a link on `user.link_requested`, unless it has been used, replaced or cancelled, or has expired."""
    organisation = await get_tenant(db, org_id)
    links = await db.scalars(
        select(Link)
        .join(User, and_(User.org_id == org_id, User.id == Link.user_id))
        .where(
            Link.org_id == org_id,
            Link.id.in_([one.event.link_id for one in recorded]),
            Link.purpose.in_(list(PAGES)),
            Link.not_expired_condition(real_now()),
            User.status != AccountStatus.ERASED,
        )
        .order_by(Link.id)
    )
    drafts = [_write_link_mail(organisation, link) for link in links if is_deliverable(link.email)]
    await mails.queue(db, org_id, drafts)


def _write_link_mail(organisation: Tenant, link: Link) -> MailDraft:
    if link.purpose is LinkPurpose.VERIFY_DOMAIN:
        return _write_domain_mail(organisation, link)
    return write_account_mail(
        organisation,
        link.purpose.lower(),
        link.email,
        link.user_id,
        {"link": PLACEHOLDER, "expires_at": link.expires_at},
        link=(organisation.app_url or "") + PAGES[link.purpose],
        link_id=link.id,
    )


def _write_domain_mail(organisation: Tenant, link: Link) -> MailDraft:
    """Write the mail to the owner of a domain. It neither comes from the organisation nor leads to it.

    The organisation is one that any visitor may have signed up.
    """
    mail = write_account_mail(
        organisation,
        "verify_domain",
        link.email,
        None,
        {
            "link": PLACEHOLDER,
            "expires_at": link.expires_at,
            "domain": link.email.rpartition("@")[2],
            "support_email": None,
        },
        link=PAGES[link.purpose],
        link_id=link.id,
    )
    return replace(mail, sender_name=None)


async def mail_domain_loss(
    db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[OrganisationDomainLost]]
) -> None:
    """Tell the admins on `organisation.domain_lost` that another organisation has proved their domain."""
    organisation = await get_tenant(db, org_id)
    admins = await find_admins_to_notify(db, org_id)
    for one in recorded:
        context = {"domain": one.event.domain, "new_domain": one.event.new_domain}
        await mails.queue_copies(db, org_id, write_account_mail(organisation, "domain_lost", "", None, context), admins)


async def mail_sign_up_requests(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[UserSignedUp]]) -> None:
    """Tell the admins on `user.signed_up` that a user waits for approval, at most `MAX_SIGN_UP_MAILS_PER_HOUR` times.

    The mail names the user, whom the admin has to know. Erasing the user removes the name and the address from it.
    """
    ids = [one.event.user_id for one in recorded if one.event.status == AccountStatus.PENDING]
    if not ids:
        return
    waiting = await db.scalars(
        select(User)
        .where(User.org_id == org_id, User.id.in_(ids), User.status == AccountStatus.PENDING)
        .order_by(User.id)
    )
    organisation = await get_tenant(db, org_id)
    admins = await find_admins_to_notify(db, org_id, MailKind.SIGN_UP_REQUESTS, limit=MAX_ADMINS)
    # Templates: the recipient is set for each admin below.
    requests = [
        write_account_mail(
            organisation,
            "sign_up_requested",
            "",
            None,
            {
                "role": user.role_kind,
                "name": user.full_name,
                "email": user.email,
                "verified": user.email_verified_at is not None,
            },
            author_id=user.id,
        )
        for user in waiting
    ]
    recent_counts = await _count_recent_mails(
        db, org_id, list(admins.values()), {request.subject for request in requests}
    )
    drafts = [
        replace(request, recipient=email, user_id=admin_id, id=new_id())
        for admin_id, email in admins.items()
        for request in requests[: max(0, MAX_SIGN_UP_MAILS_PER_HOUR - recent_counts.get(email, 0))]
    ]
    await mails.queue(db, org_id, drafts)


async def _count_recent_mails(
    db: AsyncSession, org_id: UUID, recipients: Sequence[str], subjects: Collection[str]
) -> Mapping[str, int]:
    """Count the mails with one of these subjects that each recipient was sent in the last hour."""
    rows = await db.execute(
        select(Mail.recipient, func.count().label("mails"))
        .where(
            Mail.org_id == org_id,
            Mail.recipient.in_(recipients),
            Mail.subject.in_(subjects),
            Mail.created_at > real_now() - timedelta(hours=1),
        )
        .group_by(Mail.recipient)
    )
    return {row.recipient: row.mails for row in rows}


async def find_admins_to_notify(
    db: AsyncSession, org_id: UUID, kind: MailKind | None = None, *, limit: int | None = None
) -> Mapping[UUID, str]:
    """Return the addresses of the active admins who did not mute this kind. The limit keeps the oldest accounts."""
    statement = (
        select(User.id, User.email)
        .where(User.org_id == org_id, User.role_kind == RoleKind.ADMIN, User.status == AccountStatus.ACTIVE)
        .order_by(User.id)
        .limit(limit)
    )
    if kind is not None:
        statement = statement.where(literal(kind.value) != all_(User.muted))
    found = await db.execute(statement)
    return {admin_id: email for admin_id, email in found if is_deliverable(email)}


async def mail_account_notices(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[UserEvent]]) -> None:
    """Mail the users the notices of `ACCOUNT_NOTICES`. Equal notices of one batch are mailed once."""
    organisation = await get_tenant(db, org_id)
    events = [one.event for one in recorded]
    ids = {event.user_id for event in events}
    found = await db.scalars(
        select(User).where(User.org_id == org_id, User.id.in_(ids), User.status != AccountStatus.ERASED)
    )
    users = {user.id: user for user in found if is_deliverable(user.email)}
    notices = {
        (event.type, user.id): write_account_mail(
            organisation, ACCOUNT_NOTICES[type(event)], user.email, user.id, _make_notice_context(user, event)
        )
        for event in events
        if (user := users.get(event.user_id))
    }
    await mails.queue(db, org_id, list(notices.values()))


def _make_notice_context(user: User, event: UserEvent) -> dict[str, ContextValue]:
    return {
        "reason": user.status_reason,
        "invited": user.status == AccountStatus.INVITED,
        "provider": event.provider if isinstance(event, IdentityLinked) else None,
    }


async def mail_previous_address(db: AsyncSession, org_id: UUID, event: EmailChanged) -> None:
    """Notify the old address on `user.email_changed`, in its transaction, since the address is not stored."""
    old_email = event.old_email.value
    if not is_deliverable(old_email):
        return
    organisation = await get_tenant(db, org_id)
    # Read from the database, because a statement may have changed the row without changing the objects of this session.
    new_email = await db.scalar(select(User.email).where(User.org_id == org_id, User.id == event.user_id)) or ""
    notice = write_account_mail(organisation, "email_changed", old_email, event.user_id, {"new_email": mask(new_email)})
    await mails.queue(db, org_id, [notice])


def mask(email: str) -> str:
    """Mask an address so that only its owner recognises it: `a•••@growfin.com`."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def write_account_mail(
    organisation: Tenant,
    template: str,
    recipient: str,
    user_id: UUID | None,
    context: Mapping[str, ContextValue],
    *,
    link: str | None = None,
    link_id: UUID | None = None,
    author_id: UUID | None = None,
) -> MailDraft:
    """Write a mail about an account. See `write_draft` for the arguments."""
    return write_draft(
        organisation,
        template,
        recipient,
        context,
        fallback_subject=f"[{organisation.name}] {template.replace('_', ' ').capitalize()}",
        user_id=user_id,
        author_id=author_id,
        link=link,
        link_id=link_id,
    )

"""Mails to all admins about changes on which the security of the organisation rests. No admin can mute them.

They are written in the transaction of the change, because the client that made it is not stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.outbox.events import Actor, ActorType
from app.notifications import mails
from app.notifications.account_mails import find_admins_to_notify, write_account_mail
from app.organisations.events import OrganisationDomainVerified, OrganisationUpdated
from app.organisations.queries import get_tenant
from app.organisations.rules import TRUSTED_SETTINGS
from app.organisations.service import get_api_name

_TRUSTED_NAMES = frozenset(get_api_name(setting) for setting in TRUSTED_SETTINGS)


async def mail_trusted_changes(db: AsyncSession, org_id: UUID, event: OrganisationUpdated) -> None:
    """Mail the admins on `organisation.updated` which of the trusted settings have changed."""
    changes = [
        f"{name}: {_show(change['from'])} → {_show(change['to'])}"
        for name, change in event.changes.items()
        if name in _TRUSTED_NAMES
    ]
    if changes:
        await _mail_admins(db, org_id, event.actor, changes, event.client.value)


async def mail_domain_proof(db: AsyncSession, org_id: UUID, event: OrganisationDomainVerified) -> None:
    """Mail the admins on `organisation.domain_verified` which domain was proved, and how."""
    method = {"DNS": "a TXT record", "EMAIL": "a mail to the owner of the domain"}[event.method]
    change = f"domain: {event.previous_domain} → {event.domain} (proved with {method})"
    await _mail_admins(db, org_id, event.actor, [change], event.client.value)


async def _mail_admins(db: AsyncSession, org_id: UUID, actor: Actor, changes: Sequence[str], client: str) -> None:
    organisation = await get_tenant(db, org_id)
    admins = await find_admins_to_notify(db, org_id)
    context = {
        "user": await _name(db, org_id, actor),
        "changes": "\n".join(changes),
        "client": client,
        "changed_at": real_now(),
        "support_email": None,  # it may be what has changed
    }
    draft = write_account_mail(organisation, "trust_changed", "", None, context, author_id=actor.id)
    await mails.queue_copies(db, org_id, draft, admins)


async def _name(db: AsyncSession, org_id: UUID, actor: Actor) -> str | None:
    """Return the name and the id of the user who made a change. Several users may have the name."""
    if actor.type != ActorType.USER or actor.id is None:
        return None
    user = await db.scalar(select(User).where(User.org_id == org_id, User.id == actor.id))
    return None if user is None else f"{user.full_name} ({user.id})"


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)

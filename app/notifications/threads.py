"""Threads: the mails about a ticket to one recipient, which mail programs show together.

Gmail and Outlook start another thread if the subject differs. So the first mail gives all later ones its subject, even
if the title of the ticket changes. `mime.py` adds the headers that connect them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from app.notifications.mails import MailDraft
from app.notifications.models import Mail
from app.notifications.texts import isolate


def make_subject(reference: str, title: str) -> str:
    """Return the subject of the first mail of a thread. It begins with the reference, whatever the title is."""
    return f"[{reference}] {isolate(title)}"


async def keep_subjects(db: AsyncSession, org_id: UUID, drafts: Sequence[MailDraft]) -> list[MailDraft]:
    """Give each mail about a ticket the subject of the first one about it to the same recipient, if there is one."""
    ticket_ids = {draft.ticket_id for draft in drafts} - {None}
    if not ticket_ids:
        return list(drafts)
    rows = await db.execute(
        select(Mail.ticket_id, Mail.recipient, Mail.subject)
        .ext(distinct_on(Mail.ticket_id, Mail.recipient))
        .where(Mail.org_id == org_id, Mail.ticket_id.in_(ticket_ids))
        .order_by(Mail.ticket_id, Mail.recipient, Mail.created_at, Mail.id)
    )
    subjects = {(row.ticket_id, row.recipient): row.subject for row in rows}
    return [replace(draft, subject=subjects.get((draft.ticket_id, draft.recipient), draft.subject)) for draft in drafts]

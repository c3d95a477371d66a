"""Mails about tickets. Each subscriber receives a batch of events and queues their mails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.tenant import Tenant
from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.users.models import User
from app.core.email_addresses import is_deliverable, tell_apart
from app.core.outbox.events import Recorded
from app.notifications import mails
from app.notifications.drafts import write_draft
from app.notifications.links import make_ticket_url
from app.notifications.mails import MailDraft
from app.notifications.rendering import ContextValue
from app.notifications.threads import keep_subjects, make_subject
from app.organisations.queries import get_tenant
from app.requesters.models import Requester
from app.tickets.comments.models import Comment
from app.tickets.events import TicketAssigned, TicketClosingSoon, TicketResponded
from app.tickets.models import Ticket
from app.tickets.references import make_reference


async def mail_reply_to_requester(
    db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketResponded]]
) -> None:
    """Mail a reply to the requester, on `ticket.responded`."""
    organisation = await get_tenant(db, org_id)
    comment_ids = [one.event.comment_id for one in recorded]
    authors = select(Comment.author_id).where(Comment.org_id == org_id, Comment.id.in_(comment_ids))
    # No mail may name an erased user. This lock waits for a running erasure, and a later erasure finds the mail.
    named = select(User.id).where(User.org_id == org_id, User.id.in_(authors)).order_by(User.id)
    await db.execute(named.with_for_update(read=True))
    rows = (
        await db.execute(
            select(Comment, Ticket, User)
            .join(Ticket, and_(Ticket.org_id == org_id, Ticket.id == Comment.ticket_id))
            .join(User, and_(User.org_id == org_id, User.id == Comment.author_id))
            .where(Comment.org_id == org_id, Comment.id.in_(comment_ids))
            .order_by(Comment.id)
        )
    ).all()
    requesters, accounts = await _read_requesters(db, org_id, (ticket for _, ticket, _ in rows))
    drafts = [
        _write_draft(
            organisation,
            "ticket_responded",
            ticket,
            recipient,
            requesters[ticket.requester_id].user_id,
            message=response.message,
            author_id=author.id,
            author=author.full_name,
            auto_close_at=ticket.auto_close_at,
            contact_url=_find_contact_url(organisation, ticket, requesters[ticket.requester_id]),
        )
        for response, ticket, author in rows
        if (recipient := _find_address(requesters[ticket.requester_id], accounts, MailKind.TICKET_RESPONDED))
    ]
    await mails.queue(db, org_id, await keep_subjects(db, org_id, drafts))


async def mail_new_assignee(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketAssigned]]) -> None:
    """Mail the assignee on `ticket.assigned`, unless they may no longer work on tickets."""
    organisation = await get_tenant(db, org_id)
    assignments = [(one.event.ticket_id, one.event.assignee_id) for one in recorded if one.event.assignee_id]
    tickets = await _read_tickets(db, org_id, (ticket_id for ticket_id, _ in assignments))
    users = await _read_users(db, org_id, (user_id for _, user_id in assignments))
    requesters, _ = await _read_requesters(db, org_id, tickets.values())
    drafts = [
        _write_draft(
            organisation,
            "ticket_assigned",
            tickets[ticket_id],
            users[user_id].email,
            user_id,
            description=tickets[ticket_id].description,
            priority=tickets[ticket_id].priority,
            requester=tell_apart(requesters[tickets[ticket_id].requester_id].email),
            first_name=users[user_id].first_name,
            ticket_url=_make_ticket_url(organisation, tickets[ticket_id]),
        )
        for ticket_id, user_id in assignments
        if ticket_id in tickets
        and user_id in users
        and users[user_id].is_assignable
        and MailKind.TICKET_ASSIGNED not in users[user_id].muted
        and is_deliverable(users[user_id].email)
    ]
    await mails.queue(db, org_id, await keep_subjects(db, org_id, drafts))


async def remind_requester(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketClosingSoon]]) -> None:
    """Remind the requester on `ticket.closing_soon`."""
    organisation = await get_tenant(db, org_id)
    events = [one.event for one in recorded]
    tickets = await _read_tickets(db, org_id, (event.ticket_id for event in events))
    requesters, accounts = await _read_requesters(db, org_id, tickets.values())
    drafts = [
        _write_draft(
            organisation,
            "ticket_closing_soon",
            ticket,
            recipient,
            requesters[ticket.requester_id].user_id,
            auto_close_at=event.auto_close_at,
            contact_url=_find_contact_url(organisation, ticket, requesters[ticket.requester_id]),
        )
        for event in events
        if (ticket := tickets.get(event.ticket_id))
        and (recipient := _find_address(requesters[ticket.requester_id], accounts, MailKind.TICKET_CLOSING_SOON))
    ]
    await mails.queue(db, org_id, await keep_subjects(db, org_id, drafts))


async def _read_requesters(
    db: AsyncSession, org_id: UUID, tickets: Iterable[Ticket]
) -> tuple[Mapping[UUID, Requester], Mapping[UUID | None, User]]:
    """Read the requesters of these tickets and their accounts, each by id.

    No mail may name an erased requester: the lock waits for a running erasure, and a later one finds the mail.
    """
    ids = {ticket.requester_id for ticket in tickets}
    if not ids:
        return {}, {}
    statement = select(Requester).where(Requester.org_id == org_id, Requester.id.in_(ids)).order_by(Requester.id)
    rows = (await db.scalars(statement.with_for_update(read=True))).all()
    accounts = await _read_users(db, org_id, (requester.user_id for requester in rows))
    return {requester.id: requester for requester in rows}, accounts


def _find_address(requester: Requester, accounts: Mapping[UUID | None, User], kind: MailKind) -> str | None:
    """Return the requester's address; `None` if it is erased, or if they muted this kind of mail."""
    account = accounts.get(requester.user_id)
    if account is not None and kind in account.muted:
        return None
    return requester.email if is_deliverable(requester.email) else None


def _find_contact_url(organisation: Tenant, ticket: Ticket, requester: Requester) -> str | None:
    """Return where the requester can turn to: the ticket if they have an account, or else the front end."""
    return _make_ticket_url(organisation, ticket) if requester.user_id else organisation.app_url


def _make_ticket_url(organisation: Tenant, ticket: Ticket) -> str | None:
    """Return the address of the ticket in the organisation's front end, if it has one."""
    reference = make_reference(organisation, ticket.number)
    return make_ticket_url(organisation.app_url, organisation.ticket_path, ticket.id, reference)


async def _read_tickets(db: AsyncSession, org_id: UUID, ids: Iterable[UUID | None]) -> Mapping[UUID | None, Ticket]:
    existing_ids = set(ids) - {None}
    rows = (
        await db.scalars(select(Ticket).where(Ticket.org_id == org_id, Ticket.id.in_(existing_ids)))
        if existing_ids
        else ()
    )
    return {ticket.id: ticket for ticket in rows}


async def _read_users(db: AsyncSession, org_id: UUID, ids: Iterable[UUID | None]) -> Mapping[UUID | None, User]:
    existing_ids = set(ids) - {None}
    rows = (
        await db.scalars(select(User).where(User.org_id == org_id, User.id.in_(existing_ids))) if existing_ids else ()
    )
    return {user.id: user for user in rows}


def _write_draft(
    organisation: Tenant,
    template: str,
    ticket: Ticket,
    recipient: str,
    user_id: UUID | None,
    *,
    author_id: UUID | None = None,
    **context: ContextValue,
) -> MailDraft:
    """Write a mail about a ticket."""
    reference = make_reference(organisation, ticket.number)
    return write_draft(
        organisation,
        template,
        recipient,
        {"reference": reference, "title": ticket.title, **context},
        fallback_subject=make_subject(reference, ticket.title),
        ticket_id=ticket.id,
        user_id=user_id,
        author_id=author_id,
    )

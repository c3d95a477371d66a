"""Read and lock single tickets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, UserCaller
from app.access.tenant import Tenant
from app.organisations.models import Organisation
from app.organisations.queries import as_tenant, lock_organisation
from app.requesters.queries import select_requester_ids
from app.tickets.errors import TicketNotFound
from app.tickets.models import Ticket
from app.tickets.references import TicketReference, reference_prefix
from app.tickets.rows import TicketRow
from app.tickets.statements import FIND_BY_NUMBER, READ, READ_OWN

if TYPE_CHECKING:
    from app.core.database.pool import Driver

# Compares the version that the caller has seen with the ticket's; raises `VersionConflict`.
VersionCheck = Callable[[int], None]


def requester_scope(caller: Caller) -> UUID | None:
    """Return the caller's id if they can reach only their own tickets; `None` if they can reach all tickets."""
    match caller:
        case UserCaller(user=user) if user.is_limited_to_own_tickets:
            return user.id
        case _:
            return None


async def with_locked_clock(db: AsyncSession, caller: UserCaller) -> UserCaller:
    """Lock a sandbox's clock until the transaction ends; return the caller with the time that it shows.

    Otherwise, advancing the clock would miss timers that this transaction sets meanwhile. Call this first: advancing
    locks the organisation before its tickets.
    """
    if not caller.tenant.sandbox:
        return caller
    await lock_organisation(db, caller.org_id, shared=True)
    tenant = as_tenant(await db.get_one(Organisation, caller.org_id, populate_existing=True))
    return replace(caller, tenant=tenant, now=tenant.now())


async def lock_ticket(db: AsyncSession, org_id: UUID, ticket_id: UUID, account_id: UUID | None = None) -> Ticket:
    """Lock a ticket until the transaction ends, without blocking rows that only refer to it.

    Args:
        account_id: if given, the ticket's requester must have this account.

    Raises:
        TicketNotFound
    """
    statement = select(Ticket).where(Ticket.org_id == org_id, Ticket.id == ticket_id)
    if account_id is not None:
        statement = statement.where(Ticket.requester_id.in_(select_requester_ids(org_id, account_id)))
    ticket = await db.scalar(statement.with_for_update(key_share=True))
    if ticket is None:
        raise TicketNotFound
    return ticket


async def find_by_reference(driver: Driver, tenant: Tenant, reference: TicketReference) -> UUID:
    """Return the id of the organisation's ticket with this reference.

    Raises:
        TicketNotFound
    """
    found = None
    if reference.prefix == reference_prefix(tenant):
        found = await driver.fetchval(FIND_BY_NUMBER, tenant.id, reference.number)
    if found is None:
        raise TicketNotFound
    return cast("UUID", found)


async def read_ticket(driver: Driver, org_id: UUID, ticket_id: UUID, account_id: UUID | None = None) -> TicketRow:
    """Read a ticket with its requester and its assignee.

    Args:
        account_id: if given, the ticket's requester must have this account.

    Raises:
        TicketNotFound
    """
    if account_id is None:
        row = await driver.fetchrow(READ, org_id, ticket_id)
    else:
        row = await driver.fetchrow(READ_OWN, org_id, ticket_id, account_id)
    if row is None:
        raise TicketNotFound
    return cast("TicketRow", row)

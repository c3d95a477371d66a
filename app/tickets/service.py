"""Open tickets and change them. Customers reach their own tickets only."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import MISSING
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, ProductCaller, UserCaller
from app.access.errors import NotForCustomers, PermissionRequired
from app.access.user_permissions import Action, Resource, permission
from app.core.errors import BadInput
from app.core.ids import new_id
from app.core.outbox.events import record
from app.core.security.access_tokens import InvalidToken
from app.requesters.service import RequesterDetails
from app.tickets.assignment.queries import lock_assignee
from app.tickets.assignment.service import assign
from app.tickets.changes import CUSTOMER_FIELDS, TicketChanges
from app.tickets.errors import REQUESTER_REQUIRED, AssigneeNotEligible, OrgMismatch
from app.tickets.events import TicketUpdated
from app.tickets.models import TicketPriority
from app.tickets.opening import Opening, insert_ticket
from app.tickets.queries import (
    VersionCheck,
    lock_ticket,
    requester_scope,
    with_locked_clock,
)
from app.tickets.rows import TicketRow
from app.tickets.status_changes import enter_status

if TYPE_CHECKING:
    from app.core.database.pool import Driver

_CHANGES_REQUESTERS = permission(Resource.REQUESTERS, Action.UPDATE)


async def open_ticket(
    driver: Driver,
    caller: Caller,
    *,
    title: str,
    description: str,
    priority: TicketPriority,
    requester: RequesterDetails | None,
) -> TicketRow:
    """Open a ticket, and assign it to an available user by the rotation. If no user is available, the ticket waits.

    Args:
        requester: `None` stands for the caller, who must be a user.

    Raises:
        BadInput: a product names no requester, or a customer names another user.
        InvalidToken: the user was suspended or erased but is still in the credential cache.
        ExternalIdTaken: the product's id belongs to one requester and the address to another.
    """
    new = Opening(
        org_id=caller.org_id,
        id=new_id(),
        title=title,
        description=description,
        priority=priority,
        requester=requester,
        now=caller.now,
        actor=caller.actor,
        requester_user_id=_requester_user_id(caller, requester),
    )
    row = await insert_ticket(driver, new)
    if row is None:
        raise InvalidToken
    return row


def _requester_user_id(caller: Caller, requester: RequesterDetails | None) -> UUID | None:
    """Return the caller's id if the caller is the requester, else `None`."""
    match caller:
        case ProductCaller():
            if requester is None:
                raise BadInput.of_field("requester", REQUESTER_REQUIRED)
            return None
        case UserCaller(user=user):
            if requester is None or (requester.email == user.email and requester.is_only_email):
                return user.id
            if user.is_limited_to_own_tickets:
                raise BadInput.of_field("requester", "It must be your own e-mail address alone: leave it out.")
            # Name, locale and external id would replace those of an existing requester.
            if not requester.is_only_email and _CHANGES_REQUESTERS not in user.permissions:
                raise PermissionRequired(
                    f"The permission {_CHANGES_REQUESTERS} is required: send only the requester's e-mail address."
                )
            return None


async def change_ticket(
    db: AsyncSession, caller: UserCaller, ticket_id: UUID, changes: TicketChanges, check_version: VersionCheck
) -> None:
    """Change a ticket, with the effects of a new assignee or status.

    Values equal to the current ones have no effect.


    Raises:
        TicketNotFound, VersionConflict, AssigneeNotEligible
        NotForCustomers: a customer would change more than `CUSTOMER_FIELDS`.
        OrgMismatch: `org_id` is not the ticket's own.
    """
    account_id = requester_scope(caller)
    if account_id is not None and not changes.names <= CUSTOMER_FIELDS:
        raise NotForCustomers("Customers can change only the title, description and priority of a ticket.")
    caller = await with_locked_clock(db, caller)
    assignee = None
    if changes.assignee_id is not MISSING and changes.assignee_id is not None:
        assignee = await lock_assignee(db, caller.org_id, changes.assignee_id)
    ticket = await lock_ticket(db, caller.org_id, ticket_id, account_id)
    check_version(ticket.version)
    changes = changes.differing_from(ticket)
    if changes.org_id is not MISSING:
        raise OrgMismatch
    if not changes.names:
        return
    if changes.assignee_id is not MISSING and changes.assignee_id is not None and assignee is None:
        raise AssigneeNotEligible
    ticket.count_change()
    if changed_fields := changes.edit(ticket):
        record(db, TicketUpdated(at=caller.now, actor=caller.actor, ticket_id=ticket.id, changes=changed_fields))
    if changes.assignee_id is not MISSING:
        assign(db, caller, ticket, changes.assignee_id)
    if changes.status is not MISSING:
        await enter_status(db, caller, ticket, changes.status)

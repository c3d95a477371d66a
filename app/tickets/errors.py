"""Errors about tickets."""

from __future__ import annotations

from app.core.errors import BadInput, Conflict, NotFound

REQUESTER_REQUIRED = "This is required."  # of a product


class TicketNotFound(NotFound):
    """Your organisation has no ticket with this id, or you may not see it."""

    code = "ticket_not_found"
    title = "There is no such ticket."
    advice = "`GET /tickets` lists those that you may see."


class TicketClosed(Conflict):
    """The ticket is closed and cannot be replied to, or it is closed or resolved and cannot be accepted."""

    code = "ticket_closed"
    title = "The ticket is closed. Reopen it first."


class AlreadyAccepted(Conflict):
    """Another user has accepted the ticket."""

    code = "already_accepted"
    title = "Another user has accepted this ticket. Change its assignee to take it over."


class OrgMismatch(BadInput):
    """`orgId` is not the ticket's organisation, and a ticket stays in its organisation."""

    code = "org_mismatch"
    title = "A ticket cannot move to another organisation. Leave `orgId` out."
    field = "orgId"


class AssigneeNotEligible(BadInput):
    """The user is not an active admin or engineer who may see and change tickets."""

    code = "assignee_not_active"
    title = "The assignee must be an active admin or engineer of the organisation who may see and change tickets."
    advice = "Choose an active admin or engineer of the organisation who may see and change tickets."
    field = "assigneeId"

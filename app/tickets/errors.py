"""The expected failures of operations on tickets."""

from __future__ import annotations

from app.core.errors import BadInput, Conflict, NotFound


class TicketNotFound(NotFound):
    """The ticket does not exist in the caller's organisation, or the caller may not see it."""

    code = "ticket_not_found"
    title = "There is no such ticket."


class TicketClosed(Conflict):
    """A closed ticket takes no replies, and neither a closed nor a resolved one can be accepted."""

    code = "ticket_closed"
    title = "The ticket is closed. Reopen it first."


class AlreadyAccepted(Conflict):
    """Another user has accepted the ticket."""

    code = "already_accepted"
    title = "Another user has accepted this ticket."


class OrgMismatch(BadInput):
    """`orgId` is not the ticket's organisation. A ticket stays in its organisation."""

    code = "org_mismatch"
    title = "A ticket cannot move to another organisation."
    field = "orgId"


class AssigneeNotActive(BadInput):
    """The assignee is not an active admin or engineer of the organisation who may see and change tickets."""

    code = "assignee_not_active"
    title = "The assignee must be an active admin or engineer of the organisation who may see and change tickets."
    field = "assigneeId"

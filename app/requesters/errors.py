"""Errors about requesters."""

from __future__ import annotations

from app.core.errors import Conflict, NotFound


class RequesterNotFound(NotFound):
    """Your organisation has no requester with this id, or the requester was erased."""

    code = "requester_not_found"
    title = "There is no such requester."
    advice = "A ticket's `requester.id` is the id of its requester."


class ExternalIdTaken(Conflict):
    """Another requester has this `externalId`, and this e-mail address belongs to a second one."""

    code = "external_id_taken"
    title = "Another requester has this externalId. Send that requester's e-mail address, or leave the externalId out."

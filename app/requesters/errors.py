"""Errors about requesters."""

from __future__ import annotations

from app.core.errors import Conflict, NotFound


class RequesterNotFound(NotFound):
    """Your organisation has no requester with this id, or the requester was erased."""

    code = "requester_not_found"
    title = "There is no such requester."
    advice = "`GET /requesters` lists the requesters."


class ExternalIdTaken(Conflict):
    """Another requester has this `externalId`, and this e-mail address belongs to a second one."""

    code = "external_id_taken"
    title = "Another requester has this externalId. Send that requester's e-mail address, or leave the externalId out."


class RequesterExists(Conflict):
    """Another requester has this e-mail address or `externalId`."""

    code = "requester_exists"
    title = "Another requester has this e-mail address or externalId. Merge the two, or choose another."


class RequesterHasAccount(Conflict):
    """The requester belongs to an account, whose address is theirs."""

    code = "requester_has_account"
    title = "The requester has an account."
    advice = (
        "The user of the account changes its address. To merge, merge the other requester into this one. To erase, "
        "erase the user."
    )


class SelfMerge(Conflict):
    """Both ids are of the same requester."""

    code = "same_requester"
    title = "Both ids are of the same requester. Send the id of another one as `into`."

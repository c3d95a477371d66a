"""What can go wrong with organisations."""

from __future__ import annotations

from app.core.errors import Conflict, Forbidden, NotFound


class OrganisationNotFound(NotFound):
    """No active organisation has this domain."""

    code = "organisation_not_found"
    title = "There is no organisation with this domain."


class DomainTaken(Conflict):
    """Another organisation has this domain."""

    code = "domain_taken"
    title = "Another organisation has signed up with this domain."


class NotASandbox(Forbidden):
    """Only a sandbox's clock can be moved."""

    code = "not_a_sandbox"
    title = "Only a sandbox organisation's clock can be moved."

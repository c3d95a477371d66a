"""Errors about organisations."""

from __future__ import annotations

from app.core.errors import Conflict, Forbidden, NotFound


class OrganisationNotFound(NotFound):
    """No active organisation has this domain."""

    code = "organisation_not_found"
    title = "There is no organisation with this domain."
    advice = "Check its spelling, or sign the organisation up."


class DomainTaken(Conflict):
    """Another organisation has signed up with this domain."""

    code = "domain_taken"
    title = (
        "Another organisation has signed up with this domain. Use another domain, or ask its admins for an invitation."
    )


class NotASandbox(Forbidden):
    """Only the clock of a sandbox can be moved."""

    code = "not_a_sandbox"
    title = "This organisation is not a sandbox, so its clock cannot be moved. Sign up a sandbox organisation for that."
    advice = "Sign up another organisation with `sandbox: true`."

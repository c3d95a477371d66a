"""Errors about organisations."""

from __future__ import annotations

from app.core.errors import Conflict, Forbidden, NotFound


class OrganisationNotFound(NotFound):
    """No active organisation has this domain."""

    code = "organisation_not_found"
    title = "There is no organisation with this domain."
    advice = "Check its spelling, or sign the organisation up."


class DomainTaken(Conflict):
    """Another organisation has this domain."""

    code = "domain_taken"
    title = (
        "Another organisation has this domain. Use another one, or ask its admins for an invitation. If the domain is "
        "yours, sign up with another one and prove it: POST /org/domain/verify."
    )


class SignUpClosed(Forbidden):
    """The operator of this installation does not let organisations sign up."""

    code = "sign_up_closed"
    title = "Organisations cannot sign up here: ask the operator of this installation."


class SignUpTokenRequired(Forbidden):
    """Organisations need a token of the operator to sign up here. None was sent, or another one."""

    code = "sign_up_token_required"
    title = "A token is required to sign an organisation up: ask the operator, and send it as X-Sign-Up-Token."
    advice = "Ask the operator of the installation for the token, and send it in `X-Sign-Up-Token`."


class NotASandbox(Forbidden):
    """Only the clock of a sandbox can be moved."""

    code = "not_a_sandbox"
    title = "This organisation is not a sandbox, so its clock cannot be moved. Sign up a sandbox organisation for that."
    advice = "Sign up another organisation with `sandbox: true`."

"""Check at start-up that operations declare their callers correctly."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app.access.operation_requirements import Requirement, get_requirement
from app.access.transactions import open_transaction
from app.core.web.declarations import find_declaration
from app.core.web.endpoint_signatures import Endpoint, Parameter, Source, read_parameters


def check_callers(routes: Iterable[BaseRoute]) -> None:
    """Check that the caller of each operation has the type that its requirement gives.

    Raises:
        TypeError: the caller has another type, or an operation has several callers, or opens a
            transaction but declares no caller.
    """
    for route in routes:
        if not isinstance(route, APIRoute):
            continue
        endpoint = route.endpoint
        requirement = find_declaration(endpoint)
        for one in read_parameters(endpoint):
            if one.source is not Source.DEPENDENCY:
                continue
            if isinstance(requirement, Requirement) and one.dependency is requirement:
                _check_type(endpoint, one, requirement)
            if one.dependency is open_transaction:
                get_requirement(endpoint)  # raises if there is none, or several


def _check_type(endpoint: Endpoint, caller: Parameter, requirement: Requirement) -> None:
    if caller.type != requirement.caller_type:
        raise TypeError(
            f"{endpoint.__qualname__} takes {caller.name} as {caller.type}: "
            f"its requirement gives {requirement.caller_type}"
        )

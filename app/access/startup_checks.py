"""Check at start-up that operations declare their callers correctly."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app.access.operation_requirements import Requirement, dependencies_of, requirement_of
from app.access.transactions import open_transaction


def check_callers(routes: Iterable[BaseRoute]) -> None:
    """Check that the caller of each operation has the type that its requirement gives.

    Raises:
        TypeError: it has another type, or an operation opens a transaction without exactly one caller.
    """
    for route in routes:
        if not isinstance(route, APIRoute):
            continue
        endpoint = route.endpoint
        for one in dependencies_of(endpoint):
            if isinstance(one.call, Requirement) and one.annotation != one.call.caller_type:
                raise TypeError(
                    f"{endpoint.__qualname__} takes {one.name} as {one.annotation}: "
                    f"its requirement gives {one.call.caller_type}"
                )
            if one.call is open_transaction:
                requirement_of(endpoint)

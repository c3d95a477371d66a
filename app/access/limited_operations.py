"""Declare the limits of operations, which their responses announce."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import Request

from app.access.attempt_limits import Limit
from app.access.operation_requirements import find_identified_caller
from app.access.services import get_services
from app.core.web.client_address import address_of
from app.core.web.endpoint_signatures import Endpoint
from app.core.web.rate_limits import declare_limits

E = TypeVar("E", bound=Endpoint)


def limited(limit: Limit) -> Callable[[E], E]:
    """Declare the limit that an operation counts its requests in first."""

    async def announce(request: Request) -> None:
        await get_services(request).attempts.announce(limit, address_of(request), find_identified_caller(request))

    return declare_limits(announce)

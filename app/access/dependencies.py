"""The dependencies of routes besides the caller: the transaction, and facts of the request."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Annotated, get_args, get_origin
from uuid import UUID

from fastapi import Depends, Request, params
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.routing import BaseRoute

from app.access.requirements import Requirement
from app.access.services import services_of


def address_of(request: Request) -> str | None:
    """Return the client's address; behind trusted proxies, the one that they report."""
    return request.client.host if request.client else None


# --- transactions ----------------------------------------------------------------------------------------------------


async def open_transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Open the request's transaction in the organisation of its caller, in either order of the parameters."""
    caller = await requirement_of(request.scope["endpoint"])(request)
    async with services_of(request).database.session(caller.org_id) as db:
        yield db


# Scope "function" commits before the response is sent, so no response reports a change that failed to commit.
Db = Annotated[AsyncSession, Depends(open_transaction, scope="function")]


@asynccontextmanager
async def transaction_refreshing_credentials(
    request: Request, org_id: UUID, user_id: UUID | None = None
) -> AsyncIterator[AsyncSession]:
    """Open a transaction that changes what credentials allow. The change takes effect at once in this process.

    Args:
        user_id: the only user whom it concerns; `None` for the organisation and all its users.
    """
    async with services_of(request).database.session(org_id) as db:
        yield db
    invalidate_credentials(request, org_id, user_id)  # after the commit: before, the old state could be read again


def invalidate_credentials(request: Request, org_id: UUID, user_id: UUID | None = None) -> None:
    """Remove the credentials of one user, or of an organisation and all its users, from the cache."""
    services_of(request).credential_cache.invalidate(org_id, user_id)


# --- what operations declare -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dependency:
    """A parameter that FastAPI fills with what `call` returns."""

    name: str
    annotation: object
    call: object


def _dependencies_of(endpoint: Callable[..., object]) -> Iterator[_Dependency]:
    for name, parameter in inspect.signature(endpoint, eval_str=True).parameters.items():
        annotation, markers = parameter.annotation, [parameter.default]
        if get_origin(annotation) is Annotated:
            annotation, *metadata = get_args(annotation)
            markers += metadata
        for marker in markers:
            if isinstance(marker, params.Depends):
                yield _Dependency(name, annotation, marker.dependency)


@cache
def requirement_of(endpoint: Callable[..., object]) -> Requirement:
    """Return the requirement that an endpoint declares.

    Raises:
        TypeError: it declares none, or several.
    """
    found = [one.call for one in _dependencies_of(endpoint) if isinstance(one.call, Requirement)]
    if len(found) != 1:
        raise TypeError(f"{endpoint.__qualname__} declares {len(found)} requirements of its caller instead of one")
    return found[0]


def check_callers(routes: Iterable[BaseRoute]) -> None:
    """Check that the caller of each operation has the type that its requirement gives.

    Raises:
        TypeError: it has another type, or an operation opens a transaction without exactly one caller.
    """
    for route in routes:
        if not isinstance(route, APIRoute):
            continue
        endpoint = route.endpoint
        for one in _dependencies_of(endpoint):
            if isinstance(one.call, Requirement) and one.annotation != one.call.caller_type:
                raise TypeError(
                    f"{endpoint.__qualname__} takes {one.name} as {one.annotation}: "
                    f"its requirement gives {one.call.caller_type}"
                )
            if one.call is open_transaction:
                requirement_of(endpoint)

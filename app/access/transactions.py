"""The transactions of requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.credential_changes import record_credential_change
from app.access.operation_requirements import get_requirement
from app.access.services import get_services


async def open_transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Open the request's transaction in the caller's organisation. `caller` may be declared before or after `db`."""
    caller = await get_requirement(request.scope["endpoint"])(request)
    async with get_services(request).database.session(caller.org_id) as db:
        yield db


# Scope "function" commits before the response is sent, so no response reports a change that failed to commit.
Db = Annotated[AsyncSession, Depends(open_transaction, scope="function")]


@asynccontextmanager
async def transaction_refreshing_credentials(
    request: Request, org_id: UUID, user_id: UUID | None = None
) -> AsyncIterator[AsyncSession]:
    """Open a transaction that changes what credentials allow.

    The change takes effect at once in this process, and in others as soon as they read of it.

    Args:
        user_id: the only user whom the change concerns; `None` for the organisation and all its users.
    """
    async with get_services(request).database.session(org_id) as db:
        yield db
        record_credential_change(db, org_id, user_id)
    invalidate_credentials(request, org_id, user_id)  # after the commit: before, the old state could be read again


def invalidate_credentials(request: Request, org_id: UUID, user_id: UUID | None = None) -> None:
    """Make this process look up the credentials of one user, or of an organisation and all its users, again.

    Call it after the commit of a transaction that has recorded the change.
    """
    get_services(request).credential_cache.invalidate(org_id, user_id)

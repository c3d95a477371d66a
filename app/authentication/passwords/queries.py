"""Reads of what is needed to get back into an account."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import Credential, Person
from app.accounts.users.queries import UserNotFound


async def credential(db: AsyncSession, person: Person) -> Credential:
    """What somebody signs in with. Whoever changes it has locked their person.

    Raises:
        UserNotFound: they were erased a moment ago.
    """
    found = await db.scalar(
        select(Credential)
        .where(Credential.org_id == person.org_id, Credential.person_id == person.id)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise UserNotFound
    return found

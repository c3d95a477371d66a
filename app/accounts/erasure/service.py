"""Erasing somebody: what is personal about them is deleted, and their row says only that there was somebody."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import Role
from app.accounts.pictures.models import Picture
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links.models import Link
from app.accounts.users.models import Credential, Person, PersonWord
from app.accounts.users.rules import Status, erased_email
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.authentication.sessions.models import Session
from app.authentication.social.models import ExternalIdentity

# What goes with a person.
BELONGINGS = (Credential, PersonWord, Link, Session, SecondFactor, RecoveryCode, ExternalIdentity, Picture)


async def erase(db: AsyncSession, person: Person) -> None:
    """Delete what is theirs, and clear their row, which is locked."""
    for what in BELONGINGS:
        await db.execute(delete(what).where(what.org_id == person.org_id, what.person_id == person.id))
    person.status = Status.ERASED
    person.first_name, person.last_name, person.email = "Erased", "person", erased_email(person.id)
    person.email_verified_at = person.picture_at = None
    person.bio = person.timezone = person.locale = person.status_reason = None
    person.muted = []
    person.available = person.second_factor = False
    person.have_role(BUILT_IN[Role(person.role)])
    person.have_besides(frozenset(), frozenset())

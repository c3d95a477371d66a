"""People: signing up, their profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel
from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.db import UNIQUE_VIOLATION, sqlstate_of
from app.core.errors import BadInput, Conflict, FieldError
from app.core.events import record
from app.core.ids import new_id
from app.core.security import InvalidToken, hash_password, password_weakness, salt_of
from app.identity.people import queries, rules
from app.identity.people.events import (
    PersonBecameAvailable,
    PersonBecameUnavailable,
    PersonSignedUp,
    PersonUpdated,
)
from app.identity.people.models import Credential, Person, PersonWord, Status
from app.identity.people.queries import UserNotFound
from app.organisations.caller import Caller
from app.organisations.permissions import Role
from app.organisations.tenant import Tenant


class EmailTaken(Conflict):
    """Somebody of this organisation has this e-mail."""

    code = "email_taken"
    title = "Somebody of this organisation has signed up with this e-mail."


class WeakPassword(BadInput):
    """The password is easily guessed."""

    code = "weak_password"
    title = "This password is easily guessed."


@dataclass(frozen=True)
class NewPerson:
    """Who signs up."""

    first_name: str
    last_name: str
    email: str
    password: str


async def hash_new_password(secret_key: str, tenant: Tenant, new: NewPerson) -> str:
    """Check a chosen password and hash it; done before the transaction, since it takes long.

    Raises:
        WeakPassword: it is common, or close to a name that others know.
    """
    known = (new.email, tenant.name, tenant.domain, new.first_name, new.last_name)
    if weakness := password_weakness(new.password, *known):
        raise WeakPassword(weakness, errors=[FieldError("password", weakness)])
    return await hash_password(new.password, salt_of(secret_key, new.email))


async def sign_up_admin(db: AsyncSession, caller: Caller, new: NewPerson, password_hash: str) -> Person:
    """Make an active, available admin; the tickets that waited for one are theirs when this commits.

    Raises:
        EmailTaken: in this organisation, whatever its case.
    """
    person = Person(
        org_id=caller.org_id,
        id=new_id(),
        first_name=new.first_name,
        last_name=new.last_name,
        email=new.email,
        role=Role.ADMIN,
        status=Status.ACTIVE,
        available=True,
        created_at=real_now(),
    )
    await add(db, person, password_hash)
    record(
        db,
        PersonSignedUp(at=caller.now, actor=caller.actor, person_id=person.id, role=Role.ADMIN, status=Status.ACTIVE),
    )
    return person


async def add(db: AsyncSession, person: Person, password_hash: str | None) -> None:
    """Write somebody new, with what they sign in with and are found by.

    Raises:
        EmailTaken: in this organisation, whatever its case.
    """
    db.add(person)
    db.add(Credential(org_id=person.org_id, person_id=person.id, email=person.email, password_hash=password_hash))
    try:
        await db.flush()
    except IntegrityError as error:
        if sqlstate_of(error) == UNIQUE_VIOLATION:
            raise EmailTaken from None
        raise
    await index_words(db, person)


async def index_words(db: AsyncSession, person: Person) -> None:
    """Have somebody found by the words of their name and e-mail as they are now."""
    await db.execute(delete(PersonWord).where(PersonWord.org_id == person.org_id, PersonWord.person_id == person.id))
    words = rules.words_of(person.first_name, person.last_name, person.email)
    await db.execute(
        insert(PersonWord),
        [{"org_id": person.org_id, "word": word, "person_id": person.id} for word in sorted(words)],
    )


async def me(db: AsyncSession, caller: Caller) -> Person:
    """The signed-in person.

    Raises:
        InvalidToken: gone within the seconds for which a token's person is remembered.
    """
    try:
        return await queries.person(db, caller.org_id, caller.somebody.id)
    except UserNotFound:
        raise InvalidToken from None


async def change_profile(db: AsyncSession, caller: Caller, changes: Mapping[str, Any]) -> Person:
    """Change some of one's own fields (by column); who becomes available gets the tickets that were waiting.

    Raises:
        InvalidToken: as `me`.
    """
    try:
        person = await queries.lock(db, caller.org_id, caller.somebody.id)
    except UserNotFound:
        raise InvalidToken from None
    different = sorted(name for name, value in changes.items() if getattr(person, name) != value)
    for name in different:
        setattr(person, name, changes[name])
    if {"first_name", "last_name"} & set(different):
        await index_words(db, person)
    at, actor = caller.now, caller.actor
    if "available" in different:
        kind = PersonBecameAvailable if person.available else PersonBecameUnavailable
        record(db, kind(at=at, actor=actor, person_id=person.id))
    if names := [to_camel(name) for name in different if name != "available"]:
        record(db, PersonUpdated(at=at, actor=actor, person_id=person.id, fields=names))
    return person

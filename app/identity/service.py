"""People: signing up, signing in, their profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic.alias_generators import to_camel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.db import UNIQUE_VIOLATION, Database, sqlstate_of
from app.core.errors import BadInput, Conflict, FieldError, Unauthenticated
from app.core.events import record
from app.core.ids import new_id
from app.core.security import InvalidToken, fitting, hash_password, issue_access_token, password_weakness, salt_of
from app.identity import queries
from app.identity.events import (
    PersonBecameAvailable,
    PersonBecameUnavailable,
    PersonSignedUp,
    PersonUpdated,
)
from app.identity.models import ACTIVE, ADMIN, Credential, Person
from app.organisations.caller import Caller
from app.organisations.tenant import Tenant


class EmailTaken(Conflict):
    """Somebody of this organisation has this e-mail."""

    code = "email_taken"
    title = "Somebody of this organisation has signed up with this e-mail."


class WeakPassword(BadInput):
    """The password is easily guessed."""

    code = "weak_password"
    title = "This password is easily guessed."


class WrongEmailOrPassword(Unauthenticated):
    """Which of the two is nobody's business."""

    code = "wrong_email_or_password"
    title = "The e-mail or the password is wrong."


class OrgRequired(Conflict):
    """E-mail and password fit more than one organisation."""

    code = "org_required"
    title = "This fits more than one organisation: say which, with `org`."


@dataclass(frozen=True)
class NewPerson:
    """Who signs up."""

    first_name: str
    last_name: str
    email: str
    password: str


@dataclass(frozen=True)
class Session:
    """Who has signed in. `is_only_account` says that the e-mail leads to nobody else."""

    token: str
    person: Person
    is_only_account: bool


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
        role=ADMIN,
        status=ACTIVE,
        available=True,
        created_at=real_now(),
    )
    db.add(person)
    db.add(Credential(org_id=caller.org_id, person_id=person.id, email=new.email, password_hash=password_hash))
    try:
        await db.flush()
    except IntegrityError as error:
        if sqlstate_of(error) == UNIQUE_VIOLATION:
            raise EmailTaken from None
        raise
    record(db, PersonSignedUp(at=caller.now, actor=caller.actor, person_id=person.id, role=ADMIN))
    return person


async def sign_in(database: Database, secret_key: str, email: str, password: str, domain: str | None) -> Session:
    """An access token for whoever has this e-mail and password.

    No transaction is open while passwords are compared: each takes a tenth of a second.

    Raises:
        WrongEmailOrPassword: after the same time, whichever is wrong.
        OrgRequired: they fit more than one organisation.
    """
    async with database.session(None) as db:
        accounts = await queries.accounts(db, email, domain)
    fit = await fitting(password, [account.password_hash for account in accounts])
    active: list[Person] = []
    for account in accounts:
        if account.password_hash in fit and (person := await _active(database, account.org_id, account.person_id)):
            active.append(person)
            if len(active) > 1:
                raise OrgRequired
    if not active:
        raise WrongEmailOrPassword
    token = issue_access_token(secret_key, person_id=active[0].id, org_id=active[0].org_id, now=real_now())
    return Session(token, active[0], is_only_account=len(accounts) == 1)


async def _active(database: Database, org_id: UUID, person_id: UUID) -> Person | None:
    async with database.session(org_id) as db:
        person = await queries.person(db, org_id, person_id)
    return person if person is not None and person.status == ACTIVE else None


async def me(db: AsyncSession, caller: Caller) -> Person:
    """The signed-in person.

    Raises:
        InvalidToken: gone within the seconds for which a token's person is remembered.
    """
    person = await queries.person(db, caller.org_id, caller.admin.id)
    if person is None:
        raise InvalidToken
    return person


async def change_profile(db: AsyncSession, caller: Caller, changes: Mapping[str, Any]) -> Person:
    """Change some of one's own fields (by column); who becomes available gets the tickets that were waiting."""
    person = await db.get(Person, (caller.org_id, caller.admin.id), with_for_update={"key_share": True})
    if person is None:
        raise InvalidToken
    different = sorted(name for name, value in changes.items() if getattr(person, name) != value)
    for name in different:
        setattr(person, name, changes[name])
    at, actor = caller.now, caller.actor
    if "available" in different:
        kind = PersonBecameAvailable if person.available else PersonBecameUnavailable
        record(db, kind(at=at, actor=actor, person_id=person.id))
    if names := [to_camel(name) for name in different if name != "available"]:
        record(db, PersonUpdated(at=at, actor=actor, person_id=person.id, fields=names))
    return person

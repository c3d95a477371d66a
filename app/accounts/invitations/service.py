"""Invitations: an account that an admin makes, and that is its person's once they have set a password."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, check_rights
from app.access.permissions import Role
from app.access.tenant import Tenant
from app.accounts.roles import queries as roles
from app.accounts.roles.queries import AnyRole
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, Purpose
from app.accounts.single_use_links.service import LinkExpired
from app.accounts.users import creation as people_service
from app.accounts.users import queries as people
from app.accounts.users.creation import NewPerson
from app.accounts.users.events import (
    EmailVerified,
    PersonBecameAvailable,
    PersonInvitationCancelled,
    PersonInvited,
    PersonJoined,
)
from app.accounts.users.models import Credential, Person, PersonWord
from app.accounts.users.queries import UserNotFound
from app.accounts.users.rules import Status
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.errors import Conflict
from app.core.outbox.events import Actor, ActorType, record
from app.core.security.opaque_tokens import Named
from app.organisations.queries import lock as lock_organisation


class NotInvited(Conflict):
    """There is no invitation that waits for its person."""

    code = "not_invited"
    title = "This person has no open invitation: they have an account already."


@dataclass(frozen=True, kw_only=True)
class NewInvitation:
    """Whom to invite, as what: `role` names a built-in role, `role_id` any."""

    person: NewPerson
    role: Role | None
    role_id: UUID | None


# --- by an admin -----------------------------------------------------------------------------------------------------


async def invite(db: AsyncSession, caller: Caller, new: NewInvitation) -> tuple[Person, Link]:
    """Make an account that cannot act yet, and have a link mailed with which its person sets a password.

    Raises:
        UnknownRole
        BeyondYourRights: it would have permissions that the caller lacks, or be above them.
        EmailTaken: somebody of the organisation has it, whatever their status.
    """
    role = await _role(db, caller.org_id, new)
    check_rights(caller, role.role, frozenset(role.permissions))
    person = people_service.newcomer(caller.org_id, new.person, Role(role.role), Status.INVITED)
    person.have_role(role)
    await people_service.add(db, person, None)
    record(db, PersonInvited(at=caller.now, actor=caller.actor, person_id=person.id, role=Role(person.role)))
    return person, _send_link(db, caller, person)


async def invited(db: AsyncSession, caller: Caller, person_id: UUID) -> Person:
    """Somebody whose invitation waits for them.

    Raises:
        UserNotFound
        NotInvited
        BeyondYourRights: they are to have permissions that the caller lacks, or to be above them.
    """
    return _check_invited(caller, await people.person(db, caller.org_id, person_id))


async def resend(db: AsyncSession, caller: Caller, person_id: UUID) -> tuple[Person, Link]:
    """Have another link mailed, for as long again; earlier ones lead nowhere.

    Raises:
        UserNotFound, NotInvited, BeyondYourRights: as `invited`.
    """
    person = _check_invited(caller, await people.lock(db, caller.org_id, person_id))
    await links.cancel(db, caller.org_id, person.id, Purpose.INVITATION)
    return person, _send_link(db, caller, person)


async def cancel(db: AsyncSession, caller: Caller, person_id: UUID) -> None:
    """Take an invitation back: of its account nothing is left, and the e-mail is free again.

    Raises:
        UserNotFound, NotInvited, BeyondYourRights: as `invited`.
    """
    person = _check_invited(caller, await people.lock(db, caller.org_id, person_id))
    for what in (Link, PersonWord, Credential):
        await db.execute(delete(what).where(what.org_id == caller.org_id, what.person_id == person.id))
    await db.delete(person)
    cancelled = PersonInvitationCancelled(at=caller.now, actor=caller.actor, person_id=person.id, email=person.email)
    record(db, cancelled)


async def _role(db: AsyncSession, org_id: UUID, new: NewInvitation) -> AnyRole:
    if new.role is not None:
        return BUILT_IN[new.role]
    assert new.role_id is not None
    await lock_organisation(db, org_id, shared=True)  # so that what follows from the role is still true at the end
    return await roles.assignable(db, org_id, new.role_id)


def _check_invited(caller: Caller, person: Person) -> Person:
    if person.status != Status.INVITED:
        raise NotInvited
    check_rights(caller, person.role, person.permissions)
    return person


def _send_link(db: AsyncSession, caller: Caller, person: Person) -> Link:
    return links.send(db, caller.org_id, person.id, person.email, Purpose.INVITATION, at=caller.now, actor=caller.actor)


# --- by whoever was invited ------------------------------------------------------------------------------------------


async def accept(database: Database, secret_key: str, token: str, password: str) -> Person:
    """Set the password of an invited person's account, with which it is active; nobody is signed in by this.

    Whoever has the link reads the mails of its address, so that is verified with it. The link is used up only by a
    password that will do.

    Raises:
        LinkExpired: or the invitation was accepted, replaced or taken back.
        WeakPassword
        Busy
    """
    named = links.read(secret_key, token)
    async with database.session(named.org_id) as db:
        link = await links.find(db, named, Purpose.INVITATION)
        tenant = await links.tenant_of(db, link)
        try:
            person = await people.person(db, named.org_id, link.person_id)
        except UserNotFound:
            raise LinkExpired from None
        _check_may_join(person, link)
    password_hash = await people_service.hash_new_password(
        secret_key, tenant, password, person.first_name, person.last_name, email=person.email
    )
    async with database.session(named.org_id) as db:
        return await _join(db, tenant, link, password_hash)


async def _join(db: AsyncSession, tenant: Tenant, link: Link, password_hash: str) -> Person:
    try:
        person = await people.lock(db, tenant.id, link.person_id)
    except UserNotFound:
        raise LinkExpired from None
    _check_may_join(person, link)
    await links.use(db, Named(tenant.id, link.id), Purpose.INVITATION)
    await db.execute(
        update(Credential)
        .where(Credential.org_id == tenant.id, Credential.person_id == person.id)
        .values(password_hash=password_hash)
    )
    person.status = Status.ACTIVE
    person.email_verified_at = real_now()
    person.available = person.role != Role.CUSTOMER
    at, actor = tenant.now(), Actor(ActorType.USER, person.id)
    record(
        db,
        PersonJoined(at=at, actor=actor, person_id=person.id),
        EmailVerified(at=at, actor=actor, person_id=person.id),
    )
    if person.takes_tickets:
        record(db, PersonBecameAvailable(at=at, actor=actor, person_id=person.id))
    return person


def _check_may_join(person: Person, link: Link) -> None:
    # The hash's salt is made of the e-mail, which must be the one that the link was sent to.
    if person.status != Status.INVITED or person.email != link.email:
        raise LinkExpired

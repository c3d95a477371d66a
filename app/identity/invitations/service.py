"""Invitations: an account that an admin makes, and that is its person's once they have set a password."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from app.core.clock import real_now
from app.core.db import FOREIGN_KEY_VIOLATION, Database, sqlstate_of
from app.core.errors import BadInput, Conflict, FieldError
from app.core.events import Actor, ActorType, record
from app.core.ids import new_id
from app.core.tokens import Named
from app.identity.invitations import queries
from app.identity.links import service as links
from app.identity.links.events import LinkRequested
from app.identity.links.models import Link, Purpose
from app.identity.links.service import LinkExpired
from app.identity.people import queries as people
from app.identity.people import service as people_service
from app.identity.people.events import (
    EmailVerified,
    PersonBecameAvailable,
    PersonInvitationCancelled,
    PersonInvited,
    PersonJoined,
)
from app.identity.people.models import Credential, Person, PersonWord, Status
from app.identity.people.queries import UserNotFound
from app.identity.people.service import NewPerson
from app.identity.roles import queries as roles
from app.identity.roles.models import CustomRole
from app.identity.roles.queries import AnyRole, RoleNotFound
from app.identity.roles.rules import BUILT_IN
from app.organisations.caller import BeyondYourRights, Caller
from app.organisations.permissions import Permissions, Role, exceeds
from app.organisations.tenant import Tenant


class NotInvited(Conflict):
    """There is no invitation that waits for its person."""

    code = "not_invited"
    title = "This person has no open invitation: they have an account already."


class UnknownRole(BadInput):
    """The role that somebody is to have is none of the organisation's."""

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("roleId", "There is no such role.")])


@dataclass(frozen=True, kw_only=True)
class NewInvitation:
    """Whom to invite, as what: `role` names a built-in role, `role_id` any."""

    first_name: str
    last_name: str
    email: str
    role: Role | None
    role_id: UUID | None


# --- by an admin -----------------------------------------------------------------------------------------------------


async def invite(db: AsyncSession, caller: Caller, new: NewInvitation) -> tuple[Person, Link]:
    """Make an account that cannot act yet, and have a link mailed with which its person sets a password.

    Raises:
        UnknownRole
        BeyondYourRights: it would have permissions that the caller lacks.
        EmailTaken: somebody of the organisation has it, whatever their status.
    """
    role = await _role(db, caller.org_id, new)
    _check_rights(caller, frozenset(role.permissions))
    own = role if isinstance(role, CustomRole) else None
    person = Person(
        org_id=caller.org_id,
        id=new_id(),
        first_name=new.first_name,
        last_name=new.last_name,
        email=new.email,
        role=role.role,
        role_id=own and own.id,
        status=Status.INVITED,
        available=False,
        created_at=real_now(),
    )
    try:
        await people_service.add(db, person, None)
    except IntegrityError as error:
        if sqlstate_of(error) == FOREIGN_KEY_VIOLATION:  # the role was deleted at this moment
            raise UnknownRole from None
        raise
    set_committed_value(person, "custom_role", own)
    record(db, PersonInvited(at=caller.now, actor=caller.actor, person_id=person.id, role=Role(person.role)))
    return person, _send_link(db, caller, person)


async def invited(db: AsyncSession, caller: Caller, person_id: UUID) -> Person:
    """Somebody whose invitation waits for them.

    Raises:
        UserNotFound
        NotInvited
        BeyondYourRights: they are to have permissions that the caller lacks.
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
    record(db, PersonInvitationCancelled(at=caller.now, actor=caller.actor, person_id=person.id))


async def _role(db: AsyncSession, org_id: UUID, new: NewInvitation) -> AnyRole:
    if new.role is not None:
        return BUILT_IN[new.role]
    assert new.role_id is not None
    try:
        return await roles.role(db, org_id, new.role_id)
    except RoleNotFound:
        raise UnknownRole from None


def _check_rights(caller: Caller, permissions: Permissions) -> None:
    if exceeds(permissions, caller.somebody.permissions):
        raise BeyondYourRights


def _check_invited(caller: Caller, person: Person) -> Person:
    if person.status != Status.INVITED:
        raise NotInvited
    _check_rights(caller, person.permissions)
    return person


def _send_link(db: AsyncSession, caller: Caller, person: Person) -> Link:
    link = links.issue(db, caller.org_id, person.id, person.email, Purpose.INVITATION)
    requested = LinkRequested(
        at=caller.now, actor=caller.actor, person_id=person.id, link_id=link.id, purpose=Purpose.INVITATION
    )
    record(db, requested)
    return link


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
        tenant = await queries.active_tenant(db, named.org_id)
        if tenant is None:
            raise LinkExpired
        try:
            person = await people.person(db, named.org_id, link.person_id)
        except UserNotFound:
            raise LinkExpired from None
        _check_may_join(person, link)
    new = NewPerson(person.first_name, person.last_name, person.email, password)
    password_hash = await people_service.hash_new_password(secret_key, tenant, new)
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
    if person.available:
        record(db, PersonBecameAvailable(at=at, actor=actor, person_id=person.id))
    return person


def _check_may_join(person: Person, link: Link) -> None:
    # The hash's salt is made of the e-mail, which must be the one that the link was sent to.
    if person.status != Status.INVITED or person.email != link.email:
        raise LinkExpired

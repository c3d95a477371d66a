"""What becomes of tickets when something happens to a user: linked to their account, handed over, made anonymous.

Each is a reaction in the transaction of the event, for a first batch, and a timer on the user for the rest. What
somebody else has locked at this moment is left to the timer, so that nobody waits for anybody; and the timer looks once
more when all that began before is over, since that neither saw the change nor was seen by it. A role's change can
concern very many users: a batch then is of the tickets of them all, and the timer is on the role.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Uuid, and_, any_, literal, not_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import TICKET_WORK
from app.accounts.roles.events import RoleUpdated
from app.accounts.users.events import (
    EmailVerified,
    UserApproved,
    UserErased,
    UserPermissionsChanged,
    UserReactivated,
    UserRoleChanged,
    UserSuspended,
)
from app.accounts.users.models import User
from app.accounts.users.rules import erased_email
from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, record
from app.core.outbox.timers import Due
from app.organisations.queries import get_tenant
from app.tickets.events import TicketAssigned, TicketUpdated
from app.tickets.models import UNFINISHED, Ticket
from app.tickets.rules import ASSIGN, FORGET_REQUESTER, HAND_OVER, HAND_OVER_OF_ROLE, LINK_TICKETS

BATCH = 1000
PEOPLE = 100  # whose rows the timer holds at once
SOON = timedelta(seconds=1)
# Longer than a statement waits for a lock, and then takes.
ONCE_MORE = timedelta(seconds=10)

_IDS = ARRAY(Uuid)
_SOMEBODY = (
    User.id,
    User.email,
    User.email_verified_at.is_not(None).label("is_verified"),
    User.may_be_assigned.label("may_be_assigned"),
)
_Somebody = Row[UUID, str, bool, bool]  # with the columns above


@dataclass(frozen=True)
class _Work:
    """What is done to the tickets of somebody.

    Args:
        kind: of the timer.
        concerns: which tickets, besides the organisation; nothing, where there can be none.
        do: the change of a batch of them, which are locked; the time is the organisation's.
    """

    kind: str
    concerns: Callable[[_Somebody], ColumnElement[bool] | None]
    do: Callable[[AsyncSession, UUID, _Somebody, Sequence[UUID], datetime], Awaitable[None]]


# --- linking ---------------------------------------------------------------------------------------------------------


def _not_linked(user: _Somebody) -> ColumnElement[bool] | None:
    return and_(Ticket.added_by == user.email, Ticket.requester_id.is_(None)) if user.is_verified else None


async def _link(db: AsyncSession, org_id: UUID, user: _Somebody, ids: Sequence[UUID], _at: datetime) -> None:
    # Nothing about the ticket is another: neither its version nor its history says so.
    await _update(db, org_id, ids, requester_id=user.id)


_LINKING = _Work(LINK_TICKETS, _not_linked, _link)


async def link_to_account(
    db: AsyncSession, org_id: UUID, event: EmailVerified | UserApproved | UserReactivated
) -> None:
    """Let the tickets with an e-mail be its owner's, once they have proved that it is theirs, and can sign in."""
    await _begin(db, org_id, event.user_id, event.at, _LINKING)


async def link_the_rest(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """On `LINK_TICKETS`."""
    return await _go_on(db, org_id, due, _LINKING)


# --- handing over ----------------------------------------------------------------------------------------------------


def _unfinished(user: _Somebody) -> ColumnElement[bool] | None:
    return None if user.may_be_assigned else and_(Ticket.admin_id == user.id, Ticket.status.in_(UNFINISHED))


async def _take(db: AsyncSession, org_id: UUID, user: _Somebody, ids: Sequence[UUID], at: datetime) -> None:
    await _take_all(db, org_id, user.id, dict.fromkeys(ids, user.id), at)


async def _take_all(
    db: AsyncSession, org_id: UUID, subject_id: UUID, whose: Mapping[UUID, UUID | None], at: datetime
) -> None:
    """Let tickets be nobody's, and have them given to whose turn it is of the others: by a timer on the subject."""
    ids = list(whose)
    await _update(db, org_id, ids, admin_id=None, accepted_at=None, version=Ticket.version + 1)
    record(
        db,
        *(
            TicketAssigned(at=at, actor=SYSTEM, ticket_id=ticket_id, admin_id=None, previous_admin_id=user_id)
            for ticket_id, user_id in whose.items()
        ),
    )
    await timers.set_timers(db, org_id, subject_id, {ASSIGN: real_now()})


_HANDING_OVER = _Work(HAND_OVER, _unfinished, _take)


async def hand_over(
    db: AsyncSession, org_id: UUID, event: UserSuspended | UserErased | UserRoleChanged | UserPermissionsChanged
) -> None:
    """Take from somebody who can no longer be assigned what they had to do, and have it given to others."""
    await _begin(db, org_id, event.user_id, event.at, _HANDING_OVER)


async def hand_over_the_rest(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """On `HAND_OVER`, unless they are back meanwhile."""
    return await _go_on(db, org_id, due, _HANDING_OVER)


async def hand_over_of_role(db: AsyncSession, org_id: UUID, event: RoleUpdated) -> None:
    """The same for all who have a role that no longer lets them work on tickets, however many: they are locked."""
    if TICKET_WORK.isdisjoint(event.removed):
        return
    await db.flush()
    _, wait = await _take_of_role(db, org_id, event.role_id, event.at)
    await timers.set_timers(db, org_id, event.role_id, {HAND_OVER_OF_ROLE: real_now() + wait})


async def hand_over_the_rest_of_role(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """On `HAND_OVER_OF_ROLE`, a role at a time; who has left it meanwhile has had their own handed over then."""
    clock = await get_tenant(db, org_id)
    role_id = due[0].subject_id
    done, wait = await _take_of_role(db, org_id, role_id, clock.now())
    claimed = await timers.claim(db, org_id, await timers.not_being_set(db, org_id, due[:1]))
    if claimed and (done or wait == SOON):
        await timers.set_timers(db, org_id, role_id, {HAND_OVER_OF_ROLE: real_now() + wait})
    return claimed


async def _take_of_role(db: AsyncSession, org_id: UUID, role_id: UUID, at: datetime) -> tuple[int, timedelta]:
    """A batch of what they have to do, of those whose rows nobody is changing; returns the same as `_batch`."""
    idle = and_(User.org_id == org_id, User.role_id == role_id, not_(User.may_be_assigned))
    everybody = (await db.scalars(select(User.id).where(idle))).all()
    theirs = _unfinished_of(org_id, everybody)
    whose = set(await db.scalars(select(Ticket.admin_id).where(theirs).limit(BATCH)))
    if not whose:
        return 0, ONCE_MORE
    which = select(User.id).where(idle, User.id == any_(literal(list(whose), _IDS))).order_by(User.id)
    free = (await db.scalars(which.with_for_update(read=True, skip_locked=True))).all()
    batch = select(Ticket.id, Ticket.admin_id).where(_unfinished_of(org_id, free))
    in_order = batch.order_by(Ticket.created_at, Ticket.number).limit(BATCH)
    rows = (await db.execute(in_order.with_for_update(key_share=True, skip_locked=True))).all()
    if rows:
        await _take_all(db, org_id, role_id, {row.id: row.admin_id for row in rows}, at)
    some_are_left = await db.scalar(select(Ticket.id).where(theirs).limit(1)) is not None
    return len(rows), SOON if some_are_left else ONCE_MORE


def _unfinished_of(org_id: UUID, users: Sequence[UUID]) -> ColumnElement[bool]:
    # By an array here, too: see jobs.py.
    theirs = Ticket.admin_id == any_(literal(users, _IDS))
    return and_(Ticket.org_id == org_id, theirs, Ticket.status.in_(UNFINISHED))


# --- erasing ---------------------------------------------------------------------------------------------------------


def _named(user: _Somebody) -> ColumnElement[bool] | None:
    return and_(Ticket.requester_id == user.id, Ticket.added_by != erased_email(user.id))


async def _make_anonymous(db: AsyncSession, org_id: UUID, user: _Somebody, ids: Sequence[UUID], at: datetime) -> None:
    added_by = erased_email(user.id)
    await _update(db, org_id, ids, added_by=added_by, requester_id=user.id, version=Ticket.version + 1)
    # That it changed, and not what it was.
    record(db, *(TicketUpdated(at=at, actor=SYSTEM, ticket_id=one, changes={"addedBy": {}}) for one in ids))


_FORGETTING = _Work(FORGET_REQUESTER, _named, _make_anonymous)


async def forget_requester(db: AsyncSession, org_id: UUID, event: UserErased) -> None:
    """Let the tickets of somebody who is erased say no more who that was.

    Those that were never linked to them are found by the e-mail that they had, if it was theirs for sure: all of them
    at once, waiting for those that are busy, since afterwards nobody knows the e-mail.
    """
    await db.flush()
    if event.email_was_verified.value:
        by_email = (Ticket.org_id == org_id, Ticket.added_by == event.email.value, Ticket.requester_id.is_(None))
        ids = (
            await db.scalars(select(Ticket.id).where(*by_email).order_by(Ticket.id).with_for_update(key_share=True))
        ).all()
        if ids:
            user = await _somebody(db, org_id, event.user_id)
            await _make_anonymous(db, org_id, user, ids, event.at)
    await _begin(db, org_id, event.user_id, event.at, _FORGETTING)


async def forget_the_rest(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """On `FORGET_REQUESTER`."""
    return await _go_on(db, org_id, due, _FORGETTING)


# --- batches ---------------------------------------------------------------------------------------------------------


async def _begin(db: AsyncSession, org_id: UUID, user_id: UUID, at: datetime, work: _Work) -> None:
    """Do a first batch in the transaction of what happened to somebody, and set the timer."""
    await db.flush()
    user = await _somebody(db, org_id, user_id)
    if work.concerns(user) is not None:
        _, wait = await _batch(db, org_id, user, at, work)
        await timers.set_timers(db, org_id, user_id, {work.kind: real_now() + wait})


async def _go_on(db: AsyncSession, org_id: UUID, due: Sequence[Due], work: _Work) -> Sequence[Due]:
    """Do a batch for each whose row nobody is changing; the timer comes again for as long as there was something.

    Who is left out, since enough was done for one transaction, stays due. Whose row is gone has nothing to be done.
    """
    clock = await get_tenant(db, org_id)
    ids = [one.subject_id for one in due]
    of_them = (User.org_id == org_id, User.id.in_(ids))
    some = select(*_SOMEBODY).where(*of_them).order_by(User.id).limit(PEOPLE)
    seen = set(ids).difference(await db.scalars(select(User.id).where(*of_them)))
    again, all_done = {}, 0
    for user in (await db.execute(some.with_for_update(read=True, skip_locked=True))).all():
        done, wait = await _batch(db, org_id, user, clock.now(), work)
        seen.add(user.id)
        if done or wait == SOON:
            again[user.id] = wait
        all_done += done
        if all_done >= BATCH:
            break
    claimed = await timers.claim(db, org_id, [one for one in due if one.subject_id in seen])
    for user_id, wait in again.items():
        await timers.set_timers(db, org_id, user_id, {work.kind: real_now() + wait})
    return claimed


async def _batch(db: AsyncSession, org_id: UUID, user: _Somebody, at: datetime, work: _Work) -> tuple[int, timedelta]:
    """Do it to at most a batch of those that are free; returns to how many, and after how long to look again."""
    concerned = work.concerns(user)
    if concerned is None:
        return 0, ONCE_MORE
    which = select(Ticket.id).where(Ticket.org_id == org_id, concerned).order_by(Ticket.created_at, Ticket.number)
    ids = (await db.scalars(which.limit(BATCH).with_for_update(key_share=True, skip_locked=True))).all()
    if ids:
        await work.do(db, org_id, user, ids, at)
    some_are_left = await db.scalar(which.limit(1)) is not None
    return len(ids), SOON if some_are_left else ONCE_MORE


async def _somebody(db: AsyncSession, org_id: UUID, user_id: UUID) -> _Somebody:
    return (await db.execute(select(*_SOMEBODY).where(User.org_id == org_id, User.id == user_id))).one()


async def _update(db: AsyncSession, org_id: UUID, ids: Sequence[UUID], **values: object) -> None:
    # Rows are found by an array of their ids: see jobs.py.
    which = (Ticket.org_id == org_id, Ticket.id == any_(literal(ids, _IDS)))
    await db.execute(update(Ticket).where(*which).values(**values).execution_options(synchronize_session=False))

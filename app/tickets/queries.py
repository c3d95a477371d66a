"""Reads of tickets, and the one statement that opens one: written for the driver, since these paths are hot.

Each names `org_id` for every table. A ticket's row carries its assignee, so that an answer takes one round trip. Where
a caller has their own tickets only (`own`: whose), that is one more condition of the same statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from sqlalchemy import select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, UserCaller
from app.accounts.users.models import User
from app.accounts.users.queries import in_turn
from app.core.errors import NotFound
from app.core.outbox.subscriptions import writes
from app.organisations.models import Organisation
from app.organisations.queries import as_tenant
from app.tickets.events import TicketAssigned, TicketCreated
from app.tickets.models import Ticket, TicketPriority, TicketStatus
from app.tickets.rows import HistoryRow, ResponseRow, ScheduleRow, TicketRow
from app.tickets.search.queries import Search, match_condition, matching_ids, matching_page_ctes

if TYPE_CHECKING:
    from app.core.database.pool import Driver


class TicketNotFound(NotFound):
    """No ticket of the caller's organisation, or of those that the caller may see, has this id."""

    code = "ticket_not_found"
    title = "There is no such ticket."


_COLUMNS = """t.id, t.number, t.org_id, t.title, t.description, t.status, t.priority, t.added_by, t.requester_id,
    t.admin_id, t.created_at, t.updated_at, t.responded_at, t.closed_at, t.auto_close_at, t.accepted_at, t.version,
    p.email AS admin_email, p.first_name AS admin_first_name, p.last_name AS admin_last_name"""

_ASSIGNEE = "LEFT JOIN users AS p ON p.org_id = $1 AND p.id = t.admin_id"

ONE = f"SELECT {_COLUMNS} FROM tickets AS t {_ASSIGNEE} WHERE t.org_id = $1 AND t.id = $2"  # noqa: S608 - constants
_ONE_OF_THEIRS = f"{ONE} AND t.requester_id = $3"


def _opening(*, whose: str, join: str, added_by: str) -> str:
    """The statement that opens a ticket.

    The counter's row gives the number, and with it whose turn it is: no assignee's row is locked. It gives the time as
    well, so that tickets are as old as their numbers say. The requester's
    account is, for as long as this takes: who is being erased gets no ticket that still has their e-mail.

    Args:
        whose: the condition of the requester's account, given `$6`.
        join: `LEFT`, or `INNER` where nothing is to be opened without that account.
        added_by: the requester's e-mail.
    """
    return f"""
    WITH available AS MATERIALIZED (
        {in_turn("$1")}
    ), requester AS MATERIALIZED (
        SELECT id, email FROM users WHERE org_id = $1 AND status = 'ACTIVE' AND {whose} FOR SHARE
    ), counted AS (
        UPDATE counters SET last_number = last_number + 1,
               last_event = last_event + CASE WHEN available.ids IS NULL THEN 1 ELSE 2 END,
               last_at = greatest($7, last_at + interval '1 microsecond')
        FROM available {join} JOIN requester ON true WHERE counters.org_id = $1
        RETURNING last_number AS number, last_event, last_at AS at,
                  ids[1 + last_number % cardinality(ids)] AS admin_id,
                  requester.id AS requester_id, requester.email AS email
    ), opened AS (
        INSERT INTO tickets (org_id, id, number, title, description, status, priority, added_by, requester_id, admin_id,
                             created_at, updated_at, version)
        SELECT $1, $2, number, $3, $4, 'OPEN', $5, {added_by}, requester_id, admin_id, at, at, 1 FROM counted
        RETURNING *
    ), waits AS (
        INSERT INTO timers (org_id, subject_id, kind, due_at)
        SELECT $1, $2, 'ASSIGN', $8 FROM counted WHERE admin_id IS NULL
    ), happened AS (
        INSERT INTO events (org_id, seq, id, type, version, subject_id, actor_type, actor_id, data, created_at)
        SELECT $1::uuid, last_event - (admin_id IS NOT NULL)::int, $9::uuid, '{TicketCreated.type}',
               {TicketCreated.version}, $2::uuid, $11, $12::uuid,
               $13::jsonb || jsonb_build_object('{TicketCreated.get_stored_name("number")}', number), at
        FROM counted
        UNION ALL
        SELECT $1, last_event, $10::uuid, '{TicketAssigned.type}', {TicketAssigned.version}, $2, 'SYSTEM', NULL,
               '{_ASSIGNED}'::jsonb || jsonb_build_object('{TicketAssigned.get_stored_name("admin_id")}', admin_id), at
        FROM counted WHERE admin_id IS NOT NULL
    )
    SELECT {_COLUMNS} FROM opened AS t {_ASSIGNEE}
    """  # noqa: S608 - constants


# Of the data of events, what is known before the statement runs.
_ASSIGNED = TicketAssigned.dump_json_without("admin_id", previous_admin_id=None)


@cache
def created_data(priority: TicketPriority) -> str:
    """The data of `TicketCreated` but for the number."""
    return TicketCreated.dump_json_without("number", status=TicketStatus.OPEN, priority=priority)


# For an e-mail ($6). It is somebody's account only where they have proved that it is theirs: who signs up with the
# address of another must not see that one's tickets.
OPEN = _opening(whose="email = $6 AND email_verified_at IS NOT NULL", join="LEFT", added_by="$6")

# For the signed-in user ($6), by the e-mail that they have at this moment; no row, where they cannot act any more.
_OPEN_OWN = _opening(whose="id = $6", join="INNER", added_by="email")

RESPONSES = """
    SELECT r.id, r.message, r.created_at, r.author_id, p.email, p.first_name, p.last_name
    FROM ticket_responses AS r JOIN users AS p ON p.org_id = $1 AND p.id = r.author_id
    WHERE r.org_id = $1 AND r.ticket_id = $2 ORDER BY r.id
"""

_HISTORY = """
    SELECT e.seq, e.id, e.type, e.data, e.created_at, e.actor_type, e.actor_id, p.email, p.first_name, p.last_name
    FROM events AS e LEFT JOIN users AS p ON p.org_id = $1 AND p.id = e.actor_id AND e.actor_type = 'USER'
    WHERE e.org_id = $1 AND e.subject_id = $2 AND e.seq > $3 ORDER BY e.seq LIMIT $4
"""

# One statement, so that the ticket and its timers are of one moment.
_SCHEDULE = """
    SELECT t.responded_at, timers.kind, timers.due_at
    FROM tickets AS t LEFT JOIN timers ON timers.org_id = $1 AND timers.subject_id = t.id
    WHERE t.org_id = $1 AND t.id = $2
"""


def requester_scope(caller: Caller) -> UUID | None:
    """Return the requester whose tickets alone the caller may see and change; `None` where it is all tickets."""
    match caller:
        case UserCaller(user=user) if user.sees_own_only:
            return user.id
        case _:
            return None


async def with_locked_clock(db: AsyncSession, caller: UserCaller) -> UserCaller:
    """Lock a sandbox's clock until the transaction ends; return the caller with the time that it shows.

    Timers set by a clock that then moves would be missed by the move. Call this first: the move locks the organisation
    before its tickets.
    """
    if not caller.tenant.sandbox:
        return caller
    organisation = await db.get_one(Organisation, caller.org_id, with_for_update={"read": True})
    tenant = as_tenant(organisation)
    return replace(caller, tenant=tenant, now=tenant.now())


async def lock(
    db: AsyncSession, org_id: UUID, ticket_id: UUID, own: UUID | None = None, *, author_id: UUID | None = None
) -> Ticket:
    """The ticket, locked until the transaction ends; those that only refer to it are not held up.

    Args:
        own: only one of this requester's.
        author_id: a user to lock before, since a response of theirs will refer to them. It is written under the
            counter's lock (`DatedRow`), where its foreign key must not wait for a change of their e-mail address.

    Raises:
        TicketNotFound: there is none in this organisation, or it is not theirs.
    """
    which = select(Ticket).where(Ticket.org_id == org_id, Ticket.id == ticket_id)
    if own is not None:
        which = which.where(Ticket.requester_id == own)
    if author_id is not None:
        author = select(User.id).where(User.org_id == org_id, User.id == author_id)
        which = which.join(author.with_for_update(read=True, key_share=True).cte("author"), true())
    ticket = await db.scalar(which.with_for_update(key_share=True, of=Ticket))
    if ticket is None:
        raise TicketNotFound
    return ticket


async def lock_assignee(db: AsyncSession, org_id: UUID, user_id: UUID) -> User | None:
    """Somebody whom a ticket can be given to; they cannot be suspended before this transaction ends.

    To be called before the ticket is locked: what hands the tickets of somebody suspended over locks in this order.
    """
    user = await db.scalar(select(User).where(User.org_id == org_id, User.id == user_id).with_for_update(read=True))
    return user if user is not None and user.may_be_assigned else None


async def one(driver: Driver, org_id: UUID, ticket_id: UUID, own: UUID | None = None) -> TicketRow:
    """A ticket with its assignee.

    Raises:
        TicketNotFound: there is none in this organisation, or it is not theirs.
    """
    if own is None:
        row = await driver.fetchrow(ONE, org_id, ticket_id)
    else:
        row = await driver.fetchrow(_ONE_OF_THEIRS, org_id, ticket_id, own)
    if row is None:
        raise TicketNotFound
    return cast("TicketRow", row)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a new ticket starts with. `now` is the organisation's time, `real_now` is not.

    The requester is the user `requester_id`, with their e-mail; or else whoever has the e-mail `added_by`.
    """

    org_id: UUID
    id: UUID
    title: str
    description: str
    priority: TicketPriority
    added_by: str | None
    now: datetime
    real_now: datetime
    created_event: UUID
    assigned_event: UUID
    actor_type: str
    actor_id: UUID | None
    requester_id: UUID | None = None


@writes(TicketCreated, TicketAssigned)
async def open_ticket(driver: Driver, new: Opening) -> TicketRow | None:
    """Number the ticket, choose its assignee, write it with its events; where nobody is available, let it wait.

    Nothing is written where the user `requester_id` is not active.
    """
    row = await driver.fetchrow(
        OPEN if new.requester_id is None else _OPEN_OWN,
        new.org_id,
        new.id,
        new.title,
        new.description,
        new.priority,
        new.added_by if new.requester_id is None else new.requester_id,
        new.now,
        new.real_now,
        new.created_event,
        new.assigned_event,
        new.actor_type,
        new.actor_id,
        created_data(new.priority),
    )
    return cast("TicketRow | None", row)


async def responses(driver: Driver, org_id: UUID, ticket_id: UUID) -> list[ResponseRow]:
    """All answers to a ticket with their authors, oldest first."""
    return cast("list[ResponseRow]", await driver.fetch(RESPONSES, org_id, ticket_id))


async def history(driver: Driver, org_id: UUID, ticket_id: UUID, after: int, limit: int) -> list[HistoryRow]:
    """The ticket's events after the number `after`, with who made them, oldest first."""
    return cast("list[HistoryRow]", await driver.fetch(_HISTORY, org_id, ticket_id, after, limit))


async def schedule(driver: Driver, org_id: UUID, ticket_id: UUID, own: UUID | None = None) -> list[ScheduleRow]:
    """What time will do to the ticket: `kind` and `due_at` (real time), each with its `responded_at`.

    Raises:
        TicketNotFound: there is none in this organisation, or it is not theirs.
    """
    if own is None:
        rows = await driver.fetch(f"{_SCHEDULE} ORDER BY timers.due_at", org_id, ticket_id)
    else:
        rows = await driver.fetch(f"{_SCHEDULE} AND t.requester_id = $3 ORDER BY timers.due_at", org_id, ticket_id, own)
    if not rows:
        raise TicketNotFound
    return [cast("ScheduleRow", row) for row in rows if row["kind"] is not None]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which tickets, in what order. Empty filters hold for all. With `requester_id`, that user's own only."""

    requester_id: UUID | None = None
    assignee_ids: Sequence[UUID] = ()
    admin_emails: Sequence[str] = ()
    customer_emails: Sequence[str] = ()
    statuses: Sequence[str] = ()
    priorities: Sequence[str] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    unassigned: bool | None = None
    search: Search | None = None
    sort: str = "-createdAt"

    @property
    def order(self) -> tuple[str, bool]:
        """The column to sort by, and whether the latest come first."""
        return ("updated_at" if self.sort.endswith("updatedAt") else "created_at", self.sort.startswith("-"))

    @property
    def is_empty(self) -> bool:
        """Whether nothing can match: what is looked for holds no word."""
        return self.search is not None and self.search.query is None


# Of pages, as they are asked for: each has a statement of its own, of which a connection prepares only so many.
_SIZES = (21, 51, 101)


class _Parameters(list[Any]):
    def add(self, value: object) -> str:
        self.append(value)
        return f"${len(self)}"


async def page(
    driver: Driver, org_id: UUID, wanted: Listing, after: Sequence[Any] | None, limit: int
) -> list[TicketRow]:
    """The tickets that follow the position `after` (time, number), with their assignees; at most `limit`."""
    if wanted.is_empty:
        return []
    size = next(size for size in _SIZES if size >= limit)
    sql, parameters = page_statement(org_id, wanted, after, size)
    return cast("list[TicketRow]", await driver.fetch(sql, *parameters))[:limit]


def page_statement(org_id: UUID, wanted: Listing, after: Sequence[Any] | None, limit: int) -> tuple[str, Sequence[Any]]:
    """The statement behind `page`. Only filters in use are in it, so each combination has a plan of its own.

    The limit is written out: PostgreSQL keeps a plan only if it can tell how few rows are wanted.
    """
    parameters = _Parameters([org_id])
    conditions = _conditions(wanted, parameters)
    column, descending = wanted.order
    direction, beyond = ("DESC", "<") if descending else ("ASC", ">")
    if after is not None:
        at, number = (parameters.add(part) for part in after)
        conditions.append(f"(t.{column}, t.number) {beyond} ({at}, {number})")
    order = f"{column} {direction}, number {direction}"
    begin = ""
    if wanted.search and not wanted.requester_id:
        in_order = f"SELECT id, {column}, number FROM tickets AS t WHERE {' AND '.join(conditions)} ORDER BY {order}"  # noqa: S608
        begin = matching_page_ctes(wanted.search, parameters.add(wanted.search.query), in_order, order, limit)
        conditions.append("t.id = ANY(ARRAY(SELECT id FROM found UNION ALL SELECT id FROM others))")
    sql = f"""
        {begin}
        SELECT {_COLUMNS} FROM (
            SELECT * FROM tickets AS t WHERE {" AND ".join(conditions)} ORDER BY {order} LIMIT {limit:d}
        ) AS t {_ASSIGNEE} ORDER BY {order}
    """  # noqa: S608 - every value is a parameter
    return sql, parameters


async def total(driver: Driver, org_id: UUID, wanted: Listing) -> int:
    """How many tickets match."""
    if wanted.is_empty:
        return 0
    parameters = _Parameters([org_id])
    conditions, begin = _conditions(wanted, parameters), ""
    if wanted.search and not wanted.requester_id:
        begin = f"WITH found AS MATERIALIZED ({matching_ids(wanted.search, parameters.add(wanted.search.query))})"
        conditions.append("t.id IN (SELECT id FROM found)")
    sql = f"{begin} SELECT count(*) FROM tickets AS t WHERE {' AND '.join(conditions)}"  # noqa: S608 - as above
    return int(await driver.fetchval(sql, *parameters))


def _conditions(wanted: Listing, parameters: _Parameters) -> list[str]:
    conditions = ["t.org_id = $1"]
    if wanted.requester_id is not None:
        conditions.append(f"t.requester_id = {parameters.add(wanted.requester_id)}")
        if wanted.search:
            # Of their own, each is looked at: so how long it takes tells nothing about the tickets of others.
            conditions.append(match_condition(wanted.search, parameters.add(wanted.search.query)))
    if len(wanted.assignee_ids) == 1:
        conditions.append(f"t.admin_id = {parameters.add(wanted.assignee_ids[0])}")
    elif wanted.assignee_ids:
        conditions.append(f"t.admin_id = ANY({parameters.add(list(wanted.assignee_ids))}::uuid[])")
    conditions += _of_texts(wanted, parameters)
    for comparison, at in (
        ("t.created_at >", wanted.created_after),
        ("t.created_at <", wanted.created_before),
        ("t.updated_at >", wanted.updated_after),
    ):
        if at is not None:
            conditions.append(f"{comparison} {parameters.add(at)}")
    if wanted.unassigned is not None:
        conditions.append(f"t.admin_id IS {'' if wanted.unassigned else 'NOT '}NULL")
    return conditions


def _of_texts(wanted: Listing, parameters: _Parameters) -> list[str]:
    conditions = []
    if len(wanted.admin_emails) == 1:
        email = parameters.add(wanted.admin_emails[0])
        conditions.append(f"t.admin_id = (SELECT id FROM users WHERE org_id = $1 AND email = {email})")  # noqa: S608
    elif wanted.admin_emails:
        emails = parameters.add(list(wanted.admin_emails))
        conditions.append(
            f"t.admin_id = ANY(ARRAY(SELECT id FROM users WHERE org_id = $1 AND email = ANY({emails}::text[])))"  # noqa: S608
        )
    for column, values in (
        ("added_by", wanted.customer_emails),
        ("status", wanted.statuses),
        ("priority", wanted.priorities),
    ):
        if len(values) == 1:
            # Not `= ANY` of one: only an equality keeps the index in the list's order.
            conditions.append(f"t.{column} = {parameters.add(values[0])}")
        elif values:
            conditions.append(f"t.{column} = ANY({parameters.add(list(values))}::text[])")
    return conditions

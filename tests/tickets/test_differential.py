"""Rules that exist both in Python and in SQL: from the same inputs, both must write the same rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, cast
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import literal_column, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import ProductCaller, UserCaller
from app.access.tenant import Tenant
from app.access.user_permissions import RoleKind
from app.accounts.users.models import RECEIVES_NEW_TICKETS_SQL, User
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import Database, run_before_commit
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, Event
from app.core.outbox.models import Counter, EventRow
from app.core.outbox.numbering import assign_times
from app.core.outbox.timers import Due
from app.organisations.queries import get_tenant
from app.requesters.service import RequesterDetails
from app.tickets import service
from app.tickets.assignment.backlog import assign_waiting
from app.tickets.assignment.queries import list_available_users
from app.tickets.assignment.rules import ROLE_KINDS_IN_ORDER, choose_assignee
from app.tickets.assignment.service import Reassignment, assign, reassign
from app.tickets.auto_close.jobs import close_responded
from app.tickets.auto_close.rules import AUTO_CLOSE
from app.tickets.comments import schemas as comment_schemas
from app.tickets.comments.queries import CommentRow, read_comments
from app.tickets.comments.representation import represent_comment
from app.tickets.events import TicketAssigned, TicketCreated, TicketEvent, TicketStatusChanged
from app.tickets.history.queries import read_history
from app.tickets.history.representation import represent_event
from app.tickets.history.schemas import TICKET_EVENTS
from app.tickets.http import json_response
from app.tickets.models import UNFINISHED, WAITING, Ticket, TicketPriority, TicketStatus
from app.tickets.queries import read_ticket
from app.tickets.representation import represent_ticket
from app.tickets.schemas import Ticket as TicketSchema
from app.tickets.status_changes import enter_status
from tests.organisation_client import JSON, Desk
from tests.tickets.conftest import NOW
from tests.tickets.rows import add_ticket
from tests.tickets.users import add_customer, add_engineer

LATER = NOW + timedelta(days=30)


async def last_at(db: AsyncSession, org_id: UUID) -> datetime:
    return (await db.execute(select(Counter.last_at).where(Counter.org_id == org_id))).scalar_one()


async def events_of(db: AsyncSession, org_id: UUID, *ticket_ids: UUID) -> list[EventRow]:
    await run_before_commit(db)
    conditions = (EventRow.org_id == org_id, EventRow.subject_id.in_(ticket_ids))
    return list(await db.scalars(select(EventRow).where(*conditions).order_by(EventRow.seq)))


async def columns_of(db: AsyncSession, ticket: Ticket, *left_out: str) -> JSON:
    """Return the stored columns that two equal tickets share."""
    await db.flush()
    await db.refresh(ticket)
    named = {column.key: getattr(ticket, column.key) for column in Ticket.__table__.columns}
    return {name: value for name, value in named.items() if name not in {"id", "number", "updated_at", *left_out}}


# --- closing: `Ticket.move_to` and `CLOSE` ---------------------------------------------------------------------------


async def close_by_statement(db: AsyncSession, org_id: UUID, tickets: Sequence[Ticket], at: datetime | None) -> None:
    """Close responded tickets as the worker does: each at its due time, or all at `at` if it is given."""
    dues = []
    for ticket in tickets:
        due_at = ticket.auto_close_at
        assert due_at is not None
        await timers.set_timers(db, org_id, ticket.id, {AUTO_CLOSE: due_at})
        dues.append(Due(kind=AUTO_CLOSE, subject_id=ticket.id, due_at=due_at, at=at or due_at))
    assert await close_responded(db, org_id, dues) == dues


@pytest.mark.parametrize("accepted_at", [None, NOW])
@pytest.mark.parametrize("is_assigned", [True, False])
async def test_a_ticket_closed_by_the_worker_has_the_row_and_the_event_of_one_closed_by_a_user(
    db: AsyncSession, caller: UserCaller, accepted_at: datetime | None, is_assigned: bool
) -> None:
    columns = {
        "status": TicketStatus.RESPONDED,
        "responded_at": NOW,
        "auto_close_at": LATER,
        "accepted_at": accepted_at,
        "assignee_id": caller.user.id if is_assigned else None,
        "version": 7,
    }
    by_user, by_worker = [await add_ticket(db, caller, **columns) for _ in range(2)]

    await close_by_statement(db, caller.org_id, [by_worker], None)
    by_user.count_change()
    await enter_status(db, replace(caller, now=LATER), by_user, TicketStatus.CLOSED)

    (changed,) = await events_of(db, caller.org_id, by_user.id)
    (closed,) = await events_of(db, caller.org_id, by_worker.id)
    assert await columns_of(db, by_user) == await columns_of(db, by_worker)
    assert closed.data == changed.data | {"reason": AUTO_CLOSE}
    assert (closed.type, closed.version) == (changed.type, changed.version)
    assert by_worker.updated_at == closed.created_at


@pytest.mark.parametrize("at", [None, LATER + timedelta(days=2)], ids=["each at its time", "all at once"])
async def test_closing_many_tickets_numbers_and_dates_their_events_like_other_changes(
    db: AsyncSession, caller: UserCaller, at: datetime | None
) -> None:
    days = (3, 1, 2, 2, 1, 3, 0)  # some are equal, and one is before the previous commit
    tickets = [
        await add_ticket(db, caller, status=TicketStatus.RESPONDED, auto_close_at=NOW + timedelta(days=day))
        for day in days
    ]
    await db.execute(
        update(Counter).where(Counter.org_id == caller.org_id).values(last_at=NOW + timedelta(days=1, seconds=1))
    )
    before = await last_at(db, caller.org_id)
    closes_at = {ticket.id: at or ticket.auto_close_at or NOW for ticket in tickets}

    await close_by_statement(db, caller.org_id, tickets, at)

    ordered_tickets = sorted(tickets, key=lambda ticket: (closes_at[ticket.id], ticket.number))
    expected: list[Event] = [
        TicketStatusChanged(
            at=closes_at[ticket.id],
            actor=SYSTEM,
            ticket_id=ticket.id,
            from_status=TicketStatus.RESPONDED,
            to_status=TicketStatus.CLOSED,
            reason="AUTO_CLOSE",
        )
        for ticket in ordered_tickets
    ]
    rows = await events_of(db, caller.org_id, *closes_at)
    times = assign_times(expected, before)
    assert [TicketStatusChanged.from_row(row).event for row in rows] == [
        replace(event, at=time) for event, time in zip(expected, times, strict=True)
    ]
    assert [row.seq - rows[0].seq for row in rows] == list(range(len(rows)))
    counter = await db.get_one(Counter, caller.org_id, populate_existing=True)
    assert (counter.last_event, counter.last_at) == (rows[-1].seq, times[-1])
    for ticket, time in zip(ordered_tickets, times, strict=True):
        await db.refresh(ticket)
        assert (ticket.updated_at, ticket.closed_at) == (time, closes_at[ticket.id])


# --- assignment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was_assigned", "is_assigned", "is_accepted"),
    [(False, True, False), (False, True, True), (True, False, False), (True, False, True), (False, False, True)],
    ids=["assign", "assign accepted", "unassign", "unassign accepted", "keep unassigned accepted"],
)
async def test_a_ticket_reassigned_by_a_statement_has_the_row_and_the_event_of_one_reassigned_by_a_user(
    db: AsyncSession, caller: UserCaller, was_assigned: bool, is_assigned: bool, is_accepted: bool
) -> None:
    before = caller.user.id if was_assigned else None
    after = caller.user.id if is_assigned else None
    columns = {"assignee_id": before, "accepted_at": NOW if is_accepted else None}
    by_user, by_statement = [await add_ticket(db, caller, **columns) for _ in range(2)]

    by_user.count_change()
    assign(db, caller, by_user, after)
    reassignment = Reassignment(by_statement.id, after, by_statement.assignee_id)
    await reassign(db, caller.org_id, [reassignment], NOW)

    (assigned,) = await events_of(db, caller.org_id, by_user.id)
    (reassigned,) = await events_of(db, caller.org_id, by_statement.id)
    assert await columns_of(db, by_user) == await columns_of(db, by_statement)
    assert by_statement.accepted_at is None
    assert (assigned.type, assigned.version, assigned.data) == (reassigned.type, reassigned.version, reassigned.data)


async def open_tickets(database: Database, caller: ProductCaller, count: int) -> list[Any]:
    opened = []
    for _ in range(count):
        async with database.driver(caller.org_id) as driver:
            opened.append(
                await service.open_ticket(
                    driver,
                    caller,
                    title="It broke",
                    description="All of it.",
                    priority=TicketPriority.HIGH,
                    requester=RequesterDetails(email="mia@customer.example"),
                )
            )
    return opened


async def product_of(desk: Desk) -> ProductCaller:
    async with desk.database.session(desk.id) as db:
        organisation = await get_tenant(db, desk.id)
    return ProductCaller(tenant=organisation, now=organisation.now())


@pytest.mark.parametrize(("engineers", "admins"), [(0, 1), (0, 3), (1, 2), (3, 1)])
async def test_new_and_waiting_tickets_go_to_the_users_that_the_rule_chooses(
    desk: Desk, engineers: int, admins: int
) -> None:
    users = {RoleKind.ADMIN: [desk.admin], RoleKind.ENGINEER: [await add_engineer(desk) for _ in range(engineers)]}
    users[RoleKind.ADMIN] += [await desk.another_admin(f"user{n}@growfin.test") for n in range(admins - 1)]
    await add_customer(desk, available=True)
    await add_engineer(desk, available=False)
    kind = next(kind for kind in ROLE_KINDS_IN_ORDER if users[kind])
    available = sorted(user.id for user in users[kind])

    opened = await open_tickets(desk.database, await product_of(desk), 2 * len(available) + 1)

    assert [row["assignee_id"] for row in opened] == [choose_assignee(row["number"], available) for row in opened]
    async with desk.database.session(desk.id) as db:
        assert [*await list_available_users(db, desk.id)] == available
        await db.execute(update(Ticket).where(Ticket.org_id == desk.id).values(assignee_id=None))
        assert await assign_waiting(db, desk.id, real_now()) == len(opened)
    async with desk.database.session(desk.id) as db:
        rows = (await db.execute(select(Ticket.number, Ticket.assignee_id).where(Ticket.org_id == desk.id))).all()
    assert dict(rows) == {row["number"]: row["assignee_id"] for row in opened}


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_assigned", [True, False])
@pytest.mark.parametrize("is_behind", [True, False], ids=["clock behind the last commit", "clock ahead"])
async def test_the_events_of_a_new_ticket_equal_the_events_of_record(
    desk: Desk, is_assigned: bool, is_behind: bool
) -> None:
    if not is_assigned:
        await desk.admin.patch("/me", {"available": False})
    caller = await product_of(desk)
    if is_behind:
        caller = replace(caller, now=caller.now - timedelta(hours=1))
    async with desk.database.session(desk.id) as db:
        before = await db.get_one(Counter, desk.id)

    (row,) = await open_tickets(desk.database, caller, 1)

    expected: list[TicketEvent] = [
        TicketCreated(
            at=caller.now,
            actor=caller.actor,
            ticket_id=row["id"],
            number=1,
            status=TicketStatus.OPEN,
            priority=TicketPriority.HIGH,
        )
    ]
    if is_assigned:
        expected.append(
            TicketAssigned(at=caller.now, actor=SYSTEM, ticket_id=row["id"], assignee_id=row["assignee_id"])
        )
    times = assign_times(expected, before.last_at)
    async with desk.database.session(desk.id) as db:
        rows = await events_of(db, desk.id, row["id"])
        counter = await db.get_one(Counter, desk.id)
    written = [TicketEvent.from_row(one) for one in rows]
    assert [one.event for one in written] == [replace(event, at=at) for event, at in zip(expected, times, strict=True)]
    assert [one.data for one in rows] == [event.dump_data() for event in expected]
    assert [one.seq for one in written] == [before.last_event + 1 + place for place in range(len(expected))]
    assert (counter.last_event, counter.last_at) == (written[-1].seq, times[-1])
    assert {row["created_at"], row["updated_at"]} == set(times)


# --- conditions that indexes repeat ----------------------------------------------------------------------------------


async def test_waiting_is_the_same_in_python_and_in_sql(db: AsyncSession, caller: UserCaller) -> None:
    tickets = [
        await add_ticket(db, caller, status=status, assignee_id=assignee_id)
        for status, assignee_id in product(TicketStatus, (None, caller.user.id))
    ]

    by_sql = set(await db.scalars(select(Ticket.number).where(Ticket.org_id == caller.org_id, text(WAITING))))

    assert by_sql == {ticket.number for ticket in tickets if ticket.is_waiting}
    assert len(by_sql) == len(UNFINISHED)


async def test_who_gets_new_tickets_is_the_same_in_python_and_in_sql(db: AsyncSession, caller: UserCaller) -> None:
    rows = []
    for kind, status, available, works in product(RoleKind, AccountStatus, (True, False), (True, False)):
        user_id = new_id()
        rows.append(
            User(
                org_id=caller.org_id, id=user_id, first_name="Mia", last_name="", email=f"{user_id}@growfin.test",
                email_verified_at=None, role_kind=kind, role_id=None, status=status, available=available,
                works_on_tickets=works, granted=[], denied=[], created_at=NOW,
            )
        )  # fmt: skip
    db.add_all(rows)
    await db.flush()

    async def find_matching_ids(condition: Any) -> set[UUID]:
        ids = [row.id for row in rows]
        return set(await db.scalars(select(User.id).where(User.org_id == caller.org_id, User.id.in_(ids), condition)))

    in_python = {row.id for row in rows if row.receives_new_tickets}
    assert await find_matching_ids(literal_column(RECEIVES_NEW_TICKETS_SQL)) == in_python
    assert await find_matching_ids(User.receives_new_tickets) == in_python
    assert len(in_python) == 2  # an engineer and an admin


# --- schemas and responses -------------------------------------------------------------------------------------------


def as_sent(content: object) -> Any:
    return json.loads(bytes(json_response(content).body))


def assert_matches_schema(schema: type[BaseModel], sent: JSON) -> None:
    """Assert that the content has all fields of the schema, in its order and with its values."""
    read = schema.model_validate_json(json.dumps(sent), strict=True, extra="forbid")
    assert json.loads(read.model_dump_json(by_alias=True)) == sent
    assert list(sent) == [field.alias for field in schema.model_fields.values() if field.alias in sent]


async def test_tickets_comments_and_events_are_as_their_schemas_say(desk: Desk) -> None:
    mia = await add_customer(desk)
    responded, closed = await desk.open(requester={"email": mia.email}), await desk.open()
    for ticket in (responded, closed):
        await desk.respond(ticket)
    await desk.admin.patch(f"/tickets/{closed['id']}", {"status": "CLOSED", "title": "Another", "assigneeId": None})
    await desk.admin.post(f"/tickets/{responded['id']}/accept")
    await desk.admin.patch("/me", {"available": False})
    schemas = {cast("Any", schema.model_fields["type"].annotation).__args__[0]: schema for schema in TICKET_EVENTS}
    async with desk.database.session(desk.id) as db:
        organisation: Tenant = await get_tenant(db, desk.id)
    async with desk.database.driver(desk.id) as driver:
        for ticket in (responded, closed, await desk.open()):
            ticket_id = UUID(ticket["id"])
            assert_matches_schema(
                TicketSchema, as_sent(represent_ticket(await read_ticket(driver, desk.id, ticket_id), organisation))
            )
            comments: list[CommentRow] = await read_comments(driver, desk.id, ticket_id)
            for comment in comments:
                assert_matches_schema(comment_schemas.Comment, as_sent(represent_comment(comment)))
            for event in await read_history(driver, desk.id, ticket_id, 0, 100):
                assert_matches_schema(schemas[event["type"]], as_sent(represent_event(event)))

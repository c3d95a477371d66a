"""How PostgreSQL finds rows, as the service's role on filled tables: through an index that starts with `org_id`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import timers
from app.core.db import Database
from app.core.ids import new_id
from app.core.models import DELIVER
from app.identity import queries as people
from app.notifications import queries as notifications
from app.notifications.schemas import NotificationFilter
from app.operations import queries as operations
from app.tickets import jobs
from app.tickets import queries as tickets
from app.tickets.queries import Listing, page_statement
from app.tickets.schemas import TicketFilter
from tests.conftest import copy_database
from tests.postgres import TestServer
from tests.schema.catalog import Connection, connected, rolled_back
from tests.schema.conftest import a_name

if TYPE_CHECKING:
    from app.core.db import Driver

ORGANISATIONS, TICKETS, PEOPLE, OTHERS = 5, 5_000, 400, 3_000  # of each organisation, but for the others
ORG = UUID(int=1)
TICKET = UUID("00000001-0000-0000-0000-000000000007")
START = datetime(2026, 1, 1, tzinfo=UTC)
AFTER = (START + timedelta(minutes=2_500), 2_500)

# Ids are made of numbers: the first part is the organisation's, the last the row's.
FILL = """
    CREATE FUNCTION pg_temp.org(o int) RETURNS uuid RETURN lpad(to_hex(o), 32, '0')::uuid;
    CREATE FUNCTION pg_temp.id(o int, n int) RETURNS uuid
        RETURN (lpad(to_hex(o), 8, '0') || lpad(to_hex(n), 24, '0'))::uuid;

    INSERT INTO organisations (id, name, domain, sandbox, auto_close_days, timezone, created_at)
    SELECT pg_temp.org(o), 'Growfin', o || '.test', false, 30, 'UTC', '{start}' FROM generate_series(1, {all}) AS o;
    INSERT INTO counters SELECT pg_temp.org(o), {tickets}, {tickets} FROM generate_series(1, {all}) AS o;
    INSERT INTO relays SELECT pg_temp.org(o), {tickets} FROM generate_series(1, {all}) AS o;

    INSERT INTO people (org_id, id, first_name, last_name, email, role, status, available, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), 'Ada', 'Lovelace', 'admin' || n || '@growfin.test', 'ADMIN', 'ACTIVE',
           n % 10 = 0, '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {people}) AS n;

    INSERT INTO tickets (org_id, id, number, title, description, status, priority, added_by, admin_id, created_at,
                         updated_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), n, 'Cannot export ' || n, repeat('It stops. ', 40),
           (ARRAY['OPEN', 'IN_PROGRESS', 'RESPONDED', 'RESOLVED', 'CLOSED', 'CLOSED', 'CLOSED'])[1 + n % 7],
           (ARRAY['LOW', 'MEDIUM', 'MEDIUM', 'HIGH', 'CRITICAL'])[1 + n % 5],
           'customer' || n % 500 || '@growfin.test', CASE WHEN n % 50 > 0 THEN pg_temp.id(o, 1 + n % {people}) END,
           '{start}'::timestamptz + n * interval '1 minute', '{start}'::timestamptz + n * interval '2 minutes'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    INSERT INTO ticket_responses (org_id, id, ticket_id, author_id, message, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), pg_temp.id(o, 1 + n % 1000), pg_temp.id(o, 1 + n % {people}),
           repeat('Try again. ', 20), '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    INSERT INTO events (org_id, seq, id, type, ticket_id, actor_type, data, created_at)
    SELECT pg_temp.org(o), n, pg_temp.id(o, n), 'ticket.created', pg_temp.id(o, n), 'SYSTEM', '{{}}', '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), (ARRAY['AUTO_CLOSE', 'DELIVER'])[1 + n % 2],
           '{start}'::timestamptz + n * interval '1 minute'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    INSERT INTO deliveries (org_id, id, channel, recipient, subject, body_text, ticket_id, status, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), 'EMAIL', 'mia@growfin.test', 'Re', repeat('Try again. ', 20),
           pg_temp.id(o, 1 + n % 1000), (ARRAY['SENT', 'SENT', 'SENT', 'QUEUED', 'FAILED'])[1 + n % 5],
           '{start}'::timestamptz + n * interval '1 minute'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;
"""


@pytest.fixture(scope="module")
async def filled(server: TestServer) -> TestServer:
    """A database with 25,000 tickets of five organisations, and whatever belongs to them."""
    name = a_name()
    await copy_database(server, name)
    numbers = {"organisations": ORGANISATIONS, "tickets": TICKETS, "people": PEOPLE, "all": OTHERS, "start": START}
    async with connected(server.at(name).superuser_url) as connection:
        await connection.execute(FILL.format(**numbers))
        await connection.execute("VACUUM ANALYZE")
    return server.at(name)


@pytest.fixture
async def service(filled: TestServer) -> AsyncIterator[Connection]:
    """A transaction of the service, in one of the organisations."""
    async with rolled_back(filled.service_url) as connection:
        await connection.execute(f"SET LOCAL app.org_id = '{ORG}'")
        yield connection


# --- reading plans ---------------------------------------------------------------------------------------------------


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(value)
        case list():
            kind = "uuid" if isinstance(value[0], UUID) else "text"
            return f"ARRAY[{', '.join(_literal(one) for one in value)}]::{kind}[]"
        case UUID() | datetime():
            return f"'{value}'"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


async def explain(
    connection: Connection, sql: str, parameters: Sequence[object], *, generic: bool = False
) -> dict[str, Any]:
    """The plan of a prepared statement: for these parameters, or (`generic`) the one for any."""
    mode = "force_generic_plan" if generic else "force_custom_plan"
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE explained AS {sql}")
    given = f"({', '.join(_literal(value) for value in parameters)})" if parameters else ""
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained{given}")
    await connection.execute("DEALLOCATE explained")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def complaints(plan: dict[str, Any]) -> list[str]:
    """What reads more of a table than an organisation's part."""
    found = []
    for node in nodes(plan):
        match node["Node Type"]:
            case "Seq Scan":
                found.append(f"reads all of {node['Relation Name']}")
            case "Index Scan" | "Index Only Scan" | "Bitmap Index Scan":
                key = "(id = " if node["Index Name"] == "pk_organisations" else "(org_id = "
                if key not in node.get("Index Cond", ""):
                    found.append(f"{node['Index Name']} is not entered by org_id")
    return found


def scanned(plan: dict[str, Any]) -> set[str]:
    """The indexes that it uses."""
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


async def refused(connection: Connection, sql: str, parameters: Sequence[object]) -> list[str]:
    """What is wrong with either of a statement's plans."""
    found = []
    for generic in (False, True):
        plan = await explain(connection, sql, parameters, generic=generic)
        assert scanned(plan), plan
        found += [f"{'generic' if generic else 'custom'} plan: {one}" for one in complaints(plan)]
    return found


class Recorder:
    """The driver, with a note of what is sent through it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sent: list[tuple[str, Sequence[object]]] = []

    def __getattr__(self, name: str) -> Any:
        run = getattr(self._connection, name)

        async def note_and_run(sql: str, *parameters: object) -> object:
            self.sent.append((sql, parameters))
            return await run(sql, *parameters)

        return note_and_run

    @property
    def driver(self) -> Driver:
        return cast("Driver", self)


@contextmanager
def noted(database: Database) -> Iterator[list[tuple[str, Sequence[object]]]]:
    """What SQLAlchemy sends meanwhile."""
    sent: list[tuple[str, Sequence[object]]] = []

    def note(_connection: object, _cursor: object, sql: str, parameters: Sequence[object], *_: object) -> None:
        sent.append((sql, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
async def session(filled: TestServer) -> AsyncIterator[tuple[AsyncSession, list[tuple[str, Sequence[object]]]]]:
    """A session of the service that is rolled back, and what it sends."""
    database = Database(filled.service_url, pool_size=1)
    with noted(database) as sent:
        async with database.session(ORG) as db:
            yield db, sent
            db.info.clear()
            await db.rollback()
    await database.dispose()


# --- the reader of plans can complain --------------------------------------------------------------------------------


async def test_a_filter_without_an_index_is_noticed(filled: TestServer) -> None:
    sql, parameters = page_statement(ORG, Listing(statuses=["OPEN"]), None, 21)
    async with rolled_back(filled.superuser_url) as connection:
        for index in await connection.fetch(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'tickets' AND indexname LIKE 'ix%'"
        ):
            await connection.execute(f"DROP INDEX {index[0]}")
        await connection.execute("ALTER TABLE tickets DROP CONSTRAINT uq_tickets_org_id_number")
        await connection.execute("ALTER TABLE tickets DROP CONSTRAINT pk_tickets CASCADE")
        await connection.execute(f"SET LOCAL ROLE tessera_service; SET LOCAL app.org_id = '{ORG}'")

        assert complaints(await explain(connection, sql, parameters)) == ["reads all of tickets"]


async def test_an_index_that_is_entered_without_the_organisation_is_noticed(filled: TestServer) -> None:
    async with rolled_back(filled.superuser_url) as connection:  # whom no policy adds an organisation for
        await connection.execute("DROP INDEX ix_tickets_org_id_added_by_created_at_number")
        await connection.execute("CREATE INDEX ix_tickets_added_by ON tickets (added_by)")

        plan = await explain(connection, "SELECT * FROM tickets WHERE added_by = $1", [ONE])

        assert complaints(plan) == ["ix_tickets_added_by is not entered by org_id"]


# --- lists of tickets ------------------------------------------------------------------------------------------------

ONE, MORE = "customer7@growfin.test", ["customer7@growfin.test", "customer8@growfin.test"]
FILTERS: dict[str, dict[str, Any]] = {
    "adminEmail": {"admin_emails": ["admin3@growfin.test"]},
    "adminEmail twice": {"admin_emails": ["admin3@growfin.test", "admin4@growfin.test"]},
    "customerEmail": {"customer_emails": [ONE]},
    "customerEmail twice": {"customer_emails": MORE},
    "status": {"statuses": ["OPEN"]},
    "status twice": {"statuses": ["OPEN", "RESPONDED"]},
    "priority": {"priorities": ["CRITICAL"]},
    "priority twice": {"priorities": ["HIGH", "CRITICAL"]},
    "createdAfter": {"created_after": START + timedelta(minutes=4_800)},
    "createdBefore": {"created_before": START + timedelta(minutes=200)},
    "updatedAfter": {"updated_after": START + timedelta(minutes=9_600)},
    "unassigned": {"unassigned": True},
    "assigned": {"unassigned": False},
    "everything": {},
}
SORTS = ("-createdAt", "createdAt", "-updatedAt", "updatedAt")


def test_every_filter_of_the_operation_is_here() -> None:
    of_the_operation = {field.alias for field in TicketFilter.model_fields.values()}
    assert of_the_operation - {"sort", "include", "limit", "cursor"} == {
        name.removesuffix(" twice") for name in FILTERS
    } - {"assigned", "everything"}
    assert set(TicketFilter.model_json_schema()["properties"]["sort"]["enum"]) == set(SORTS)


@pytest.mark.parametrize("after", [None, AFTER], ids=["first page", "next page"])
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", FILTERS)
async def test_a_list_of_tickets_is_read_from_an_index(
    service: Connection, name: str, sort: str, after: tuple[datetime, int] | None
) -> None:
    statement = page_statement(ORG, Listing(**FILTERS[name], sort=sort), after, 21)

    assert await refused(service, *statement) == []


@pytest.mark.parametrize("sort", SORTS)
async def test_filters_together_are_read_from_an_index(service: Connection, sort: str) -> None:
    several = [*combinations(FILTERS, 2), *combinations([name for name in FILTERS if "twice" not in name], 3)]
    found = {}
    for names in several:
        filters: dict[str, Any] = {}
        for name in names:
            filters |= FILTERS[name]
        if bad := await refused(service, *page_statement(ORG, Listing(**filters, sort=sort), AFTER, 21)):
            found[names] = bad

    assert found == {}


@pytest.mark.parametrize(
    ("name", "sort", "index"),
    [
        ("everything", "-createdAt", "ix_tickets_org_id_created_at_number"),
        ("everything", "createdAt", "ix_tickets_org_id_created_at_number"),
        ("everything", "-updatedAt", "ix_tickets_org_id_updated_at_number"),
        ("everything", "updatedAt", "ix_tickets_org_id_updated_at_number"),
        ("customerEmail", "-createdAt", "ix_tickets_org_id_added_by_created_at_number"),
        ("adminEmail", "-createdAt", "ix_tickets_org_id_admin_id_created_at_number"),
    ],
)
async def test_a_page_is_read_in_its_order_without_sorting_what_is_not_shown(
    service: Connection, name: str, sort: str, index: str
) -> None:
    for after in (None, AFTER):
        for generic in (False, True):
            statement = page_statement(ORG, Listing(**FILTERS[name], sort=sort), after, 21)
            plan = await explain(service, *statement, generic=generic)
            limit = next(node for node in nodes(plan) if node["Node Type"] == "Limit")

            assert index in scanned(limit)
            assert not [node for node in nodes(limit) if node["Node Type"] in {"Sort", "Bitmap Heap Scan"}]


@pytest.mark.parametrize("name", FILTERS)
async def test_counting_tickets_reads_an_index(service: Connection, name: str) -> None:
    recorder = Recorder(service)
    await tickets.total(recorder.driver, ORG, Listing(**FILTERS[name]))

    assert await refused(service, *recorder.sent[0]) == []


# --- one ticket, and a new one ---------------------------------------------------------------------------------------


async def test_a_ticket_and_what_belongs_to_it_are_read_from_indexes(service: Connection) -> None:
    recorder = Recorder(service)
    await tickets.one(recorder.driver, ORG, TICKET)
    await tickets.responses(recorder.driver, ORG, TICKET)
    await tickets.history(recorder.driver, ORG, TICKET, 0, 21)
    await tickets.history(recorder.driver, ORG, TICKET, 2_500, 21)
    await tickets.schedule(recorder.driver, ORG, TICKET)

    assert len(recorder.sent) == 5
    for sql, parameters in recorder.sent:
        assert await refused(service, sql, parameters) == [], sql


async def test_opening_a_ticket_reads_indexes(service: Connection) -> None:
    recorder = Recorder(service)
    new = tickets.Opening(
        org_id=ORG, id=new_id(), title="It broke", description="All of it.", priority="LOW", added_by=ONE, now=START,
        real_now=START, created_event=new_id(), assigned_event=new_id(), actor_type="ORGANISATION", actor_id=ORG,
    )  # fmt: skip
    await tickets.open_ticket(recorder.driver, new)
    (statement,) = recorder.sent

    assert await refused(service, *statement) == []
    plan = await explain(service, *statement)
    assert {"ix_people_available_admins", "pk_counters"} <= scanned(plan)


async def test_changing_a_ticket_reads_indexes(service: Connection, session: Any) -> None:
    db, sent = session
    await tickets.lock(db, ORG, TICKET)
    await timers.set_timers(db, ORG, TICKET, {"AUTO_CLOSE": START})
    await timers.cancel(db, ORG, TICKET, ("AUTO_CLOSE", "AUTO_CLOSE_REMINDER"))
    await jobs.assign_waiting(db, ORG, START)
    await people.person(db, ORG, UUID("00000001-0000-0000-0000-000000000003"))

    selects = [one for one in sent if not one[0].lstrip().startswith("INSERT")]
    assert len(selects) >= 5
    for sql, parameters in selects:
        assert await refused(service, sql, parameters) == [], sql


# --- notifications, jobs, people -------------------------------------------------------------------------------------

WHICH = {
    "everything": notifications.Listing(),
    "status": notifications.Listing(statuses=["FAILED"]),
    "status twice": notifications.Listing(statuses=["FAILED", "QUEUED"]),
    "ticketId": notifications.Listing(ticket_ids=[TICKET]),
    "ticketId twice": notifications.Listing(ticket_ids=[TICKET, UUID(int=8)]),
    "both": notifications.Listing(statuses=["FAILED", "QUEUED"], ticket_ids=[TICKET, UUID(int=8)]),
}


def test_every_filter_of_notifications_is_here() -> None:
    of_the_operation = {field.alias for field in NotificationFilter.model_fields.values()}
    assert of_the_operation - {"include", "limit", "cursor"} == {"status", "ticketId"}


@pytest.mark.parametrize("name", WHICH)
async def test_the_notification_log_is_read_from_an_index(service: Connection, session: Any, name: str) -> None:
    db, sent = session
    await notifications.page(db, ORG, WHICH[name], None, 21)
    await notifications.page(db, ORG, WHICH[name], (AFTER[0], UUID(int=7)), 21)
    await notifications.total(db, ORG, WHICH[name])

    assert len(sent) == 3
    for sql, parameters in sent:
        assert await refused(service, sql, parameters) == [], sql


async def test_one_notification_and_what_waits_are_read_from_indexes(service: Connection, session: Any) -> None:
    db, sent = session
    await notifications.one(db, ORG, TICKET)
    await timers.pending(db, ORG)
    await timers.next_due(db, ORG, START + timedelta(hours=1), kinds=["AUTO_CLOSE"])
    await operations.parked_events(db, ORG)
    await people.principal(db, ORG, UUID("00000001-0000-0000-0000-000000000003"))
    await people.available_admins(db, ORG)

    assert len(sent) == 6
    for sql, parameters in sent:
        if "relay_failures" not in sql:  # an empty one, here as on most days
            assert await refused(service, sql, parameters) == [], sql


async def test_the_worker_finds_due_organisations_by_probing_an_index(service: Connection) -> None:
    for condition, index in ((f"kind <> '{DELIVER}'", "ix_timers_due"), (f"kind = '{DELIVER}'", "ix_timers_deliver")):
        sql = timers.due_organisations_sql(condition).replace(":now", "$1")
        for generic in (False, True):
            plan = await explain(service, sql, [START], generic=generic)

            assert scanned(plan) == {index}
            assert not [node for node in nodes(plan) if node["Node Type"] in {"Seq Scan", "Sort"}]

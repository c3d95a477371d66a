"""All writing operations and the worker take their locks in one order, so that no two of them can deadlock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url, update
from sqlalchemy.exc import SQLAlchemyError

from app.access.user_permissions import RoleKind
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import Database
from tests.access.requests import REQUESTS, Request
from tests.access.table import STATUSES
from tests.access.world import World, create_world
from tests.conftest import settings_for
from tests.databases import create_test_database, running_service, superuser_connection
from tests.docs.openapi import OPERATIONS
from tests.locks.recorder import ORGANISATION, LockRecorder, Step, Transaction
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.postgres import TestServer

WRITING = {op.definition["operationId"]: op.method for op in OPERATIONS if op.method != "GET"}
CALLERS = ("ADMIN", "product", "anonymous")

# The order of DESIGN: the organisation, users, what belongs to them, tickets and theirs, timers, deliveries, and the
# counter last. All tables that are not named belong to the organisation or to users.
RANKS = {
    ORGANISATION: 0, "relays": 0,  # only the relay locks the latter, and skips what is locked
    "users": 1,
    "tickets": 3, "comments": 3, "ticket_search": 3,
    "timers": 4,
    "deliveries": 5, "mails": 5,
    "counters": 6,
}  # fmt: skip
BELONGINGS = 2
ORDERED_BY_ID = ("users", "requesters", "tickets")


def find_violations(transaction: Transaction) -> Iterator[str]:
    """Yield what is wrong with the order of a transaction's locks."""
    highest, held = -1, dict[str, str]()
    for step in transaction.steps:
        if "SKIP LOCKED" in step.sql:  # it never waits, so that it cannot be part of a deadlock
            continue
        ranks = [RANKS.get(lock.table, BELONGINGS) for lock in step.locks]
        if min(ranks) < highest:
            yield f"{describe(step)} after locks of a later rank"
        highest = max(highest, *ranks)
        for table in ORDERED_BY_ID:
            keys = sorted(lock.key for lock in step.locks if lock.table == table)
            if keys and keys[0] < held.get(table, ""):
                yield f"{describe(step)} after a larger id of {table}"
            if len(keys) > 1 and not ("ORDER BY" in step.sql and "FOR " in step.sql):
                yield f"{describe(step)} locks several rows of {table} in any order"
            held |= {table: keys[-1]} if keys else {}


def describe(step: Step) -> str:
    return f"`{' '.join(step.sql.split())[:200]}`"


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "locks")


@pytest.fixture
async def service(own_database: TestServer) -> AsyncIterator[tuple[Api, Database]]:
    async with running_service(settings_for(own_database, database_pool_size=20)) as running:
        yield running


async def send(api: Api, operation: str, request: Request, headers: dict[str, str]) -> httpx.Response:
    return await api.http.request(
        WRITING[operation], request.path, json=request.body, files=request.files, headers=headers
    )


def choose_caller(operation: str) -> str:
    return next((column for column in CALLERS if STATUSES[operation][column] < 300), CALLERS[0])


async def make_engineer(world: World) -> SignedInUser:
    """Create an available engineer with a proved address, a reply, and a ticket of their own."""
    engineer = await world.create_user(RoleKind.ENGINEER)
    async with world.desk.database.session(world.desk.id) as db:
        conditions = (User.org_id == world.desk.id, User.id == engineer.id)
        await db.execute(update(User).where(*conditions).values(available=True, email_verified_at=real_now()))
    for requester in (engineer.email, "mia@customer.example"):
        ticket = await world.desk.open(addedBy=requester)
        await engineer.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})
    return engineer


async def test_every_operation_and_the_worker_lock_in_one_order(
    own_database: TestServer, service: tuple[Api, Database], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api, database = service
    found = dict[str, list[str]]()
    recorded = set[str]()

    def check(name: str, transactions: list[Transaction]) -> None:
        recorded.update([name] if transactions else [])
        if violations := [*chain.from_iterable(find_violations(one) for one in transactions)]:
            found[name] = violations

    async with superuser_connection(own_database) as superuser:
        recorder = LockRecorder(superuser, make_url(own_database.service_url).database or "")
        await recorder.prepare()
        world = await create_world(await create_desk(api, database))
        for operation in WRITING:
            column = choose_caller(operation)
            caller = await world.create_caller(column)
            request = await REQUESTS[operation](world, caller)
            with recorder.recording(monkeypatch):
                await send(api, operation, request, world.headers(column, caller))
            check(operation, recorder.take())
        engineer = await make_engineer(world)
        settings = settings_for(own_database, data_dir=tmp_path)
        with recorder.recording(monkeypatch):
            await world.desk.work(settings)
            check("the worker", recorder.take())
            await world.desk.admin.patch(f"/users/{engineer.id}", {"status": "SUSPENDED"})
            check("suspending an engineer", recorder.take())
            await world.desk.admin.delete(f"/users/{engineer.id}")
            check("erasing an engineer", recorder.take())
            await world.desk.work(settings)
            check("the worker after an erasure", recorder.take())
    assert found == {}, "\n".join(f"{name}: {one}" for name, ones in found.items() for one in ones)
    assert {"openTicket", "eraseUser", "mergeRequester", "the worker", "erasing an engineer"} <= recorded


# --- what the order relies on ----------------------------------------------------------------------------------------

# Unique indexes with key columns that change, of tables that others refer to. Their updates lock `FOR UPDATE`, which
# waits for the checks of foreign keys, and these run under the lock of the counter.
CHANGING_KEYS = {"roles.name", "organisations.domain"}  # under the exclusive lock of the organisation
FIXED_KEYS = {"tickets.number"}


async def test_updates_do_not_wait_for_the_checks_of_foreign_keys(own_database: TestServer) -> None:
    sql = """
        SELECT DISTINCT c.relname || '.' || a.attname AS column
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) AND a.attname NOT IN ('org_id', 'id')
        WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT i.indisprimary
              AND c.oid IN (SELECT confrelid FROM pg_constraint WHERE contype = 'f')
    """
    async with superuser_connection(own_database) as superuser:
        columns = {row["column"] for row in await superuser.fetch(sql)}
    assert columns - FIXED_KEYS <= CHANGING_KEYS


# --- all at once -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SharedWorld(World):
    """A world whose requests concern the same few rows, so that they get in each other's way."""

    users: dict[tuple[object, ...], list[SignedInUser]] = field(default_factory=dict)
    turns: Any = field(default_factory=count)

    async def create_user(
        self,
        role: RoleKind = RoleKind.CUSTOMER,
        *,
        status: AccountStatus = AccountStatus.ACTIVE,
        second_factor: bool = False,
        **more: Any,
    ) -> SignedInUser:
        kind = (role, status, second_factor)
        known = self.users.setdefault(kind, [])
        if len(known) < 2 or more:
            known.append(await super().create_user(role, status=status, second_factor=second_factor, **more))
        return known[-1] if more else known[next(self.turns) % len(known)]


async def test_no_pair_of_operations_deadlocks_when_all_run_at_once(
    own_database: TestServer, service: tuple[Api, Database], tmp_path: Path
) -> None:
    api, database = service
    statuses, places = Counter[int](), asyncio.Semaphore(8)  # more would wait longer than the timeout of locks

    async def call(world: World, shared: World, operation: str) -> None:
        async with places:
            column = choose_caller(operation)
            caller = await world.create_caller(column)
            try:
                request = await REQUESTS[operation](shared, caller)
            except (AssertionError, KeyError, SQLAlchemyError):  # another request has taken its user away
                return
            statuses[(await send(api, operation, request, world.headers(column, caller))).status_code] += 1

    async def erase_engineers_beside_new_tickets(desk: Desk, world: World) -> None:
        for engineer in [await make_engineer(world) for _ in range(2)]:
            opened = [desk.open(addedBy=email) for email in (engineer.email, "mia@customer.example") for _ in range(8)]
            working = desk.work(settings_for(own_database, data_dir=tmp_path))
            await asyncio.gather(*opened, working, desk.admin.delete(f"/users/{engineer.id}"))

    async with superuser_connection(own_database) as superuser:
        sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        before = await superuser.fetchval(sql)
        desk = await create_desk(api, database)
        world = await create_world(desk)
        shared = SharedWorld(world.desk, world.other, world.revoked_secret, world.role_id)
        calls = [call(world, shared, operation) for operation in WRITING]
        await asyncio.gather(*calls, erase_engineers_beside_new_tickets(desk, world))
        await asyncio.sleep(1.1)  # the server's processes report their statistics once a second
        assert await superuser.fetchval(sql) == before
    assert not {status for status in statuses if status >= 500} - {503}
    assert statuses[200] + statuses[201] + statuses[204] > 30, statuses

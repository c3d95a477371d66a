"""Web processes and workers are killed at random moments under load: nothing is lost, and nothing happens twice.

Another number of rounds: `KILL_ROUNDS=100`. The same random choices again: `KILL_SEED=…`, which a failure shows.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from tests.conftest import SECRET_KEY
from tests.databases import (
    count_open_transactions,
    create_organisation,
    create_test_database,
    eventually,
    open_pool,
    superuser_connection,
)
from tests.due_tickets import insert_responded_tickets, insert_waiting_tickets
from tests.kills import checks
from tests.kills.checks import Stored
from tests.kills.fleet import WEB, WORKER, BalancingTransport, Fleet, running_fleet
from tests.kills.load import Load, under_load
from tests.smtp_server import SmtpServer, running_smtp_server
from tests.tessera_process import READY, WORKING, sign_up, working_folder

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer

ROUNDS = int(os.environ.get("KILL_ROUNDS", "30"))  # in each, a web process and a worker are killed
SEED = int(os.environ.get("KILL_SEED") or secrets.randbelow(2**32))
# A kill waits for a random number of responses, and then for a random time, so that it does not coincide with one.
MAX_RESPONSES = 16
MAX_PAUSE = 0.03  # seconds
CLOSING_PER_ROUND = 40  # tickets that are due to be closed
REMINDED_PER_ROUND = 10  # of these, the requester is also reminded
WAITING_PER_ROUND = 5
CATCH_UP_TIMEOUT = 90.0  # seconds
BANNERS = (READY, "Mail is ", WORKING)  # the lines that processes print when they have started


@dataclass
class Aftermath:
    """Everything that the tests compare, after the last kill and when all work is done."""

    superuser: Superuser
    smtp_server: SmtpServer
    fleet: Fleet
    loads: list[Load]
    closing: UUID  # the organisation whose tickets are only closed
    waiting: UUID  # the organisation whose tickets are only assigned
    claimed_at_kill: dict[str, set[str]] = field(default_factory=dict)
    stored: dict[str, list[Stored]] = field(default_factory=dict)

    def tickets_of(self, org_id: object) -> list[Stored]:
        return self.stored[str(org_id)]

    async def kill_round(self, number: int) -> None:
        """Kill a web process and a worker at random moments, while timers become due."""
        first = number * CLOSING_PER_ROUND + 1
        await insert_responded_tickets(
            self.superuser, self.closing, CLOSING_PER_ROUND, reminded=REMINDED_PER_ROUND, first=first
        )
        await insert_waiting_tickets(
            self.superuser, self.waiting, WAITING_PER_ROUND, first=number * WAITING_PER_ROUND + 1
        )
        for command in self.fleet.random.sample((WEB, WORKER), k=2):
            await self.pause()
            program = await self.fleet.kill_one(command)
            if command == WORKER:
                self.claimed_at_kill[f"{program.name}@growfin.test"] = await self.find_claimed()

    async def pause(self) -> None:
        """Wait for a random number of responses, and then for a short random time."""
        target = self.count_acknowledged() + self.fleet.random.randint(0, MAX_RESPONSES)

        async def is_reached() -> bool:
            return self.count_acknowledged() >= target

        assert await eventually(is_reached, within=60, every=0.002)
        await asyncio.sleep(self.fleet.random.uniform(0, MAX_PAUSE))

    def count_acknowledged(self) -> int:
        return sum(load.acknowledged for load in self.loads)

    async def find_claimed(self) -> set[str]:
        """Return the message ids of mails that were claimed but not yet recorded as sent."""
        rows = await self.superuser.fetch("SELECT id FROM deliveries WHERE status = 'QUEUED' AND attempts > 0")
        return {f"<{row['id']}@growfin.test>" for row in rows}

    async def catch_up(self) -> None:
        """Wait until all work is done."""
        # The running workers finish their mails. All other claims are those of killed workers, whose leases would
        # expire by themselves after a minute.
        await self.fleet.stop_all(WORKER)
        await self.superuser.execute("UPDATE timers SET due_at = now() WHERE kind = 'DELIVER'")
        self.fleet.start_all(WORKER)
        assert await eventually(lambda: checks.no_work_is_left(self.superuser), within=CATCH_UP_TIMEOUT)
        for org_id in (*(load.client.org_id for load in self.loads), self.closing, self.waiting):
            self.stored[str(org_id)] = await checks.read_stored(self.superuser, org_id)


@pytest.fixture(scope="module")
async def aftermath(server: TestServer) -> AsyncIterator[Aftermath]:
    """Kill processes under load, then let the others do the remaining work."""
    print(f"KILL_SEED={SEED}")  # noqa: T201 - shown if this fails
    random = Random(SEED)
    database = await create_test_database(server, "kills")
    async with open_pool(database) as pool:
        closing = await create_organisation(pool)
    async with superuser_connection(database) as superuser, running_smtp_server() as smtp_server:
        with working_folder() as folder:
            settings = {
                "database_url": database.service_url, "database_pool_size": 4, "secret_key": SECRET_KEY,
                "worker": "off", "smtp_url": smtp_server.url, "sign_up_limit": "100000/minute",
                "public_url": "https://desk.test", "log_format": "json", "log_level": "WARNING",
            }  # fmt: skip
            async with (
                running_fleet(folder, random, settings) as fleet,
                httpx.AsyncClient(transport=BalancingTransport(fleet), base_url="http://127.0.0.1", timeout=30) as http,
            ):
                clients = [await sign_up(http) for _ in range(3)]
                waiting = UUID(clients.pop().org_id)
                async with under_load(clients, random) as loads:
                    aftermath = Aftermath(superuser, smtp_server, fleet, loads, closing, waiting)
                    for number in range(ROUNDS):
                        await aftermath.kill_round(number)
                await aftermath.catch_up()
                yield aftermath


@pytest.fixture(autouse=True)
def _summarise(aftermath: Aftermath) -> None:
    """Print the seed and the extent of the run, which are shown if a test fails."""
    mails = aftermath.smtp_server.received
    print(  # noqa: T201 - as above
        f"KILL_SEED={SEED} kills={len(aftermath.fleet.killed)} acknowledged={aftermath.count_acknowledged()} "
        f"without_response={sum(load.broken for load in aftermath.loads)} mails={len(mails)} "
        f"copies={len(mails) - len({mail.message_id for mail in mails})}"
    )


async def test_everything_acknowledged_is_readable(aftermath: Aftermath) -> None:
    for load in aftermath.loads:
        assert load.refusals == []
        assert load.acknowledged > 5 * ROUNDS
        await checks.assert_readable(load)


async def test_a_request_without_a_response_happened_fully_or_not_at_all(aftermath: Aftermath) -> None:
    for load in aftermath.loads:
        checks.assert_complete(load, aftermath.tickets_of(load.client.org_id))
        await checks.assert_users_signed_up_once(aftermath.superuser, load)


async def test_numbers_of_tickets_and_events_have_no_gaps(aftermath: Aftermath) -> None:
    await checks.assert_numbers_are_dense(aftermath.superuser)
    for load in aftermath.loads:
        await checks.assert_ticket_numbers_are_dense(load.client, aftermath.tickets_of(load.client.org_id))


async def test_each_timer_fired_once(aftermath: Aftermath) -> None:
    closed, assigned = aftermath.tickets_of(aftermath.closing), aftermath.tickets_of(aftermath.waiting)
    assert checks.assert_closed_once(closed, ROUNDS * CLOSING_PER_ROUND) == ROUNDS * REMINDED_PER_ROUND
    checks.assert_assigned_once(assigned, ROUNDS * WAITING_PER_ROUND)


async def test_each_event_caused_one_mail(aftermath: Aftermath) -> None:
    tickets = [ticket for tickets in aftermath.stored.values() for ticket in tickets]
    await checks.assert_one_mail_per_event(aftermath.superuser, tickets)


async def test_each_mail_was_sent_and_only_those_in_flight_at_a_kill_twice(aftermath: Aftermath) -> None:
    await checks.assert_all_sent(aftermath.superuser, aftermath.smtp_server)
    checks.assert_copies_come_from_kills(aftermath.smtp_server, aftermath.claimed_at_kill)


async def test_nothing_is_left_over_and_nothing_was_logged(aftermath: Aftermath) -> None:
    await checks.assert_nothing_failed(aftermath.superuser)

    async def is_idle() -> bool:
        return await count_open_transactions(aftermath.superuser) == 0

    assert await eventually(is_idle, within=5)
    fleet = aftermath.fleet
    assert len(fleet.killed) == 2 * ROUNDS
    for program in (*fleet.killed, *fleet.stopped, *(slot.program for slot in fleet.slots)):
        assert [line for line in program.lines() if not line.startswith(BANNERS)] == [], program.name

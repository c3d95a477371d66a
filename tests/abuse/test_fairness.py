"""A busy organisation, many strangers and slow clients do not hinder another organisation, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from app import wiring
from tests.conftest import SECRET_KEY, settings_for
from tests.databases import create_test_database, open_pool, superuser_connection
from tests.http_server import running_server
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem

if TYPE_CHECKING:
    from tests.databases import Superuser

# Of one organisation: 60 % of the pool, as much as a lone organisation gets, and the setting.
POOL_SIZE, IN_WORK, WAITING = 5, 3, 3
NOTICEABLE = 2.0  # seconds; much less than what the others are made to wait for
SLOW_CLIENTS = 500
TICKET = {"title": "It broke", "description": "All of it.", "requester": {"email": "mia@customer.example"}}
ORIGIN = "https://desk.example"


@dataclass(frozen=True)
class Place:
    """A service on a socket, with two organisations: a quiet and a noisy one."""

    url: str
    superuser: Superuser
    quiet: Desk
    noisy: Desk

    async def assert_quiet_is_served(self) -> None:
        """Check that the quiet organisation's requests succeed in a short time, one after the other."""
        began = time.monotonic()
        secret = {"X-Org-Secret": self.quiet.secret}
        opened = await self.quiet.api.http.post("/tickets", json=TICKET, headers=secret)
        assert opened.status_code == 201, opened.text
        assert (await self.quiet.admin.get("/tickets")).status_code == 200
        assert time.monotonic() - began < NOTICEABLE

    async def make_noise(self) -> httpx.Response:
        headers = {"X-Org-Secret": self.noisy.secret, "Origin": ORIGIN}
        return await self.noisy.api.http.post("/tickets", json=TICKET, headers=headers)

    @asynccontextmanager
    async def holding_noisy(self) -> AsyncIterator[None]:
        """Make every request of the noisy organisation that writes wait in the database."""
        async with self.superuser.transaction():
            await self.superuser.execute("SELECT 1 FROM counters WHERE org_id = $1 FOR UPDATE", self.noisy.id)
            yield

    async def wait_until_waiting(self, number: int) -> None:
        """Wait until this many requests wait for a turn."""
        async with asyncio.timeout(5):
            while await self.read_gauge("tessera_http_requests_waiting") != number:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.02)

    async def wait_until_blocked(self, number: int) -> None:
        """Wait until this many requests are held by the database."""
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(5):
            while await self.superuser.fetchval(blocked) != number:
                await self.superuser.execute("SELECT pg_stat_clear_snapshot()")  # kept for the whole transaction
                await asyncio.sleep(0.02)

    async def read_gauge(self, name: str) -> float:
        metrics = await self.quiet.api.http.get("/metrics")
        (line,) = (line for line in metrics.text.splitlines() if line.startswith(f"{name} "))
        return float(line.split()[1])


@pytest.fixture(scope="module")
async def place(server: TestServer) -> AsyncIterator[Place]:
    own = await create_test_database(server, "fairness")
    settings = settings_for(
        own, database_pool_size=POOL_SIZE, org_pool_share=IN_WORK / POOL_SIZE, org_queue_size=WAITING,
        log_level="ERROR", cors_origins=[ORIGIN],
    )  # fmt: skip
    limits = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_pool(own, before_commit=wiring.NUMBERING, pool_size=2))
        superuser = await stack.enter_async_context(superuser_connection(own))
        with ExitStack() as running:
            url = await asyncio.to_thread(running.enter_context, running_server(settings))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30, limits=limits))
            api = Api(http, SECRET_KEY)
            quiet, noisy = [await create_desk(api, database, sandbox=False) for _ in range(2)]
            yield Place(url, superuser, quiet, noisy)
            await asyncio.to_thread(running.close)


async def test_a_busy_organisation_waits_and_is_refused_alone(place: Place) -> None:
    await place.assert_quiet_is_served()
    async with place.holding_noisy():
        noise = [asyncio.create_task(place.make_noise()) for _ in range(20)]
        refused = 20 - IN_WORK - WAITING
        while sum(one.done() for one in noise) < refused:
            await asyncio.wait([one for one in noise if not one.done()], return_when=asyncio.FIRST_COMPLETED)
        for _ in range(3):
            await place.assert_quiet_is_served()
        assert await place.read_gauge("tessera_http_requests_waiting") <= WAITING
        assert await place.read_gauge("tessera_http_requests_in_work") >= IN_WORK
    answers = await asyncio.gather(*noise)
    assert Counter(answer.status_code for answer in answers) == {201: IN_WORK + WAITING, 503: refused}
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        if answer.status_code == 503:
            assert_problem(answer, 503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
    assert await place.read_gauge("tessera_http_requests_waiting") == 0
    assert (await place.make_noise()).status_code == 201


async def test_a_client_that_leaves_makes_room_in_the_queue(place: Place) -> None:
    await place.assert_quiet_is_served()
    async with place.holding_noisy():
        served = [asyncio.create_task(place.make_noise()) for _ in range(IN_WORK)]
        await place.wait_until_blocked(IN_WORK)
        leaving = [asyncio.create_task(place.make_noise()) for _ in range(WAITING)]
        await place.wait_until_waiting(WAITING)
        for one in leaving:
            one.cancel()
        await place.wait_until_waiting(0)
        served += [asyncio.create_task(place.make_noise()) for _ in range(WAITING)]
        await place.wait_until_waiting(WAITING)
    assert {one.status_code for one in await asyncio.gather(*served)} == {201}
    await asyncio.wait(leaving)


async def test_blocked_sign_ins_delay_no_known_caller(place: Place) -> None:
    body = {"email": f"{uuid4().hex}@growfin.test", "password": PASSWORD}
    key_in_body = TICKET | {"secret": place.noisy.secret}
    async with place.superuser.transaction():
        await place.superuser.execute("LOCK TABLE credentials IN ACCESS EXCLUSIVE MODE")
        sign_ins = [asyncio.create_task(place.quiet.api.http.post("/auth/signin", json=body)) for _ in range(20)]
        await place.wait_until_waiting(WAITING)
        await place.assert_quiet_is_served()
        began = time.monotonic()
        assert (await place.quiet.api.http.post("/tickets", json=key_in_body)).status_code == 201
        assert time.monotonic() - began < NOTICEABLE
        assert (await place.quiet.api.http.get("/health/live")).status_code == 200
    statuses = Counter(one.status_code for one in await asyncio.gather(*sign_ins))
    assert statuses == {401: 1 + WAITING, 503: 20 - 1 - WAITING}


async def test_the_process_is_healthy_beside_sign_ins(place: Place) -> None:
    body = {"email": f"{uuid4().hex}@growfin.test", "password": PASSWORD}
    sign_ins = [asyncio.create_task(place.quiet.api.http.post("/auth/signin", json=body)) for _ in range(8)]
    longest = 0.0
    while not all(one.done() for one in sign_ins):
        began = time.monotonic()
        assert (await place.quiet.api.http.get("/health/live")).status_code == 200
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.01)
    assert longest < NOTICEABLE
    assert {one.result().status_code for one in sign_ins} <= {401, 503}


async def test_slow_bodies_are_not_noticed_and_end_with_a_408(place: Place) -> None:
    await place.assert_quiet_is_served()
    async with AsyncExitStack() as stack:
        clients = [asyncio.create_task(_send_slowly(place.url, stack)) for _ in range(SLOW_CLIENTS)]
        began = time.monotonic()
        while time.monotonic() - began < 3:
            await place.assert_quiet_is_served()
        assert not any(one.done() for one in clients)
        refused = await asyncio.gather(*clients)
    assert {one.partition(b"\r\n")[0] for one in refused} == {b"HTTP/1.1 408 Request Timeout"}
    assert all(f"access-control-allow-origin: {ORIGIN}".encode() in one for one in refused)


async def _send_slowly(url: str, stack: AsyncExitStack) -> bytes:
    """Send a body of one byte per second until there is a response; return the response."""
    host, _, port = url.rpartition("/")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    stack.callback(writer.close)
    writer.write(
        f"POST /tickets HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nContent-Type: application/json\r\n"
        "Content-Length: 20000\r\n\r\n".encode()
    )
    response = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    while not response.done():
        writer.write(b" ")
        await asyncio.wait([response], timeout=1)
    return response.result()

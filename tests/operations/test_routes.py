"""The operations for health, metrics and jobs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager
from dirty_equals import IsStr
from fastapi.routing import APIRoute
from sqlalchemy import text

from app import wiring
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.outbox.models import RelayFailure
from app.core.web.declarations import find_declaration
from app.main import OPERATIONAL_PATHS, create_app
from app.operations.routes import router
from app.worker import JOBS
from tests.conftest import connect, copy_database, settings_for
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.postgres import TestServer

MOMENT = IsStr(regex=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


@asynccontextmanager
async def running_service(server: TestServer, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """Run another service on this database."""
    app = create_app(settings_for(server, **settings))
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as client:
            yield client


@pytest.fixture
async def elsewhere(server: TestServer) -> TestServer:
    """A migrated database for this test only."""
    name = f"operations_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{uuid4().hex[:12]}"
    await copy_database(server, name)
    return server.at(name)


async def execute_as_owner(server: TestServer, statement: str) -> None:
    connection = await connect(server.owner_url)
    await connection.execute(statement)
    await connection.close()


async def jobs(desk: Desk) -> JSON:
    answer = await desk.admin.get("/jobs")
    assert answer.status_code == 200, answer.text
    content: JSON = answer.json()
    return content


async def wait_for(read: Callable[[], Awaitable[Any]]) -> Any:
    """Call `read` until it returns a true value, and return that."""
    async with asyncio.timeout(20):
        while True:
            if found := await read():
                return found
            await asyncio.sleep(0.1)


async def test_health_needs_no_credential(api: Api) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = await api.http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE supported_revisions SET revision = revision || 'x'",
        "DELETE FROM supported_revisions",
        "DROP TABLE supported_revisions",
    ],
)
async def test_a_database_that_is_not_migrated_to_this_version_is_not_ready(
    elsewhere: TestServer, statement: str
) -> None:
    async with running_service(elsewhere) as client:
        assert (await client.get("/health/ready")).status_code == 200
        await execute_as_owner(elsewhere, statement)

        ready, live = await client.get("/health/ready"), await client.get("/health/live")

    assert (ready.status_code, ready.json()["code"]) == (503, "not_migrated")
    assert ready.headers["content-type"] == "application/problem+json"
    assert "retry-after" in ready.headers
    assert live.status_code == 200


async def test_a_database_that_cannot_be_reached_is_not_ready(server: TestServer) -> None:
    nowhere = "postgresql+asyncpg://tessera@127.0.0.1:1/tessera"
    for url in (nowhere, server.at("there_is_none").service_url):
        async with running_service(server, database_url=url) as client:
            ready, live = await client.get("/health/ready"), await client.get("/health/live")

        assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
        assert "retry-after" in ready.headers
        assert live.status_code == 200


async def test_metrics_have_the_documented_series(desk: Desk, api: Api) -> None:
    await desk.admin.get(f"/tickets/{(await desk.open())['id']}")
    await api.http.get("/nowhere")

    answer = await api.http.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    for series in (
        'tessera_http_requests_total{method="GET",route="/tickets/{id}",status="200"}',
        'tessera_http_requests_total{method="POST",route="/tickets",status="201"}',
        'tessera_http_request_seconds_bucket{le="0.1",method="GET",route="/tickets/{id}"}',
        "tessera_http_requests_in_flight",
        "tessera_http_requests_waiting",
        "tessera_http_requests_in_work",
        "tessera_database_connections_in_use",
        "tessera_events_waiting",
        "tessera_timers_overdue",
        "tessera_deliveries_queued",
        "tessera_deliveries_oldest_seconds",
    ):
        assert any(line.startswith(series) for line in lines), series
    for family in ("tessera_delivery_attempts_total", "tessera_events_parked_total"):
        assert f"# TYPE {family.removesuffix('_total')}" in answer.text or f"# TYPE {family}" in answer.text


async def test_metrics_contain_no_tenant_data(desk: Desk, api: Api) -> None:
    ticket = await desk.open(addedBy="someone-special@customer.example", title="Something special")
    await desk.respond(ticket, "A special reply.")
    await desk.admin.get(f"/tickets/{ticket['id']}/history", params={"limit": 3})
    await desk.admin.get("/tickets", params={"customerEmail": "someone-special@customer.example"})
    await desk.admin.get(f"/somewhere/{ticket['id']}")

    text_of_all = (await api.http.get("/metrics")).text

    for secret in (str(desk.id), desk.domain, desk.secret, ticket["id"], "special", str(desk.admin.id), "growfin"):
        assert secret not in text_of_all


async def test_pending_work_counts_only_the_callers_organisation(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    for busy in (desk, other):
        # The sign-up of the admin sets a timer for unassigned tickets; this test counts others.
        async with database.session(busy.id) as db:
            await db.execute(text("DELETE FROM timers WHERE org_id = :org"), {"org": busy.id})
    assert (await jobs(desk))["pending"] == {"timers": 0, "deliveries": 0, "oldestDueAt": None, "parkedEvents": 0}

    responded = (await desk.respond(await desk.open()))["ticket"]
    countdown = (await jobs(desk))["pending"]
    before = real_now()
    await relay.catch_up(database, desk.id, wiring.SUBSCRIBERS)
    with_mail = (await jobs(desk))["pending"]

    closes_at = datetime.fromisoformat(responded["autoCloseAt"])
    assert (countdown["timers"], countdown["deliveries"]) == (2, 0)
    assert datetime.fromisoformat(countdown["oldestDueAt"]) == closes_at - timedelta(days=3)
    assert (with_mail["timers"], with_mail["deliveries"]) == (2, 2)
    assert before <= datetime.fromisoformat(with_mail["oldestDueAt"]) <= real_now()
    assert (await jobs(other))["pending"]["timers"] == 0


async def test_parked_events_are_counted(desk: Desk, database: Database) -> None:
    async with database.session(desk.id) as db:
        for parked_at in (None, real_now(), real_now()):
            db.add(
                RelayFailure(
                    org_id=desk.id, id=uuid4(), seq=1, subscriber="test", attempts=6, last_error="No.",
                    created_at=real_now(), parked_at=parked_at,
                )
            )  # fmt: skip

    assert (await jobs(desk))["pending"]["parkedEvents"] == 2


async def test_the_jobs_of_a_running_worker_are_reported(elsewhere: TestServer, tmp_path: object) -> None:
    database = Database(elsewhere.service_url, before_commit=wiring.NUMBERING)
    async with running_service(elsewhere, worker="inline", data_dir=tmp_path) as client:
        desk = await create_desk(Api(client, settings_for(elsewhere).secret_key or ""), database)

        async def read_complete_report() -> list[JSON]:
            job_reports: list[JSON] = (await jobs(desk))["jobs"]
            return job_reports if len(job_reports) == len(JOBS) else []

        job_reports = await wait_for(read_complete_report)
        ticket = await desk.open(addedBy="mia@customer.example")

        async def sent() -> bool:
            log = (await desk.admin.get("/notifications", params={"ticketId": ticket["id"]})).json()["items"]
            return [mail["status"] for mail in log] == ["SENT"]

        assert await wait_for(sent)
        assert (await jobs(desk))["pending"]["deliveries"] == 0
    await database.dispose()

    assert [job["name"] for job in job_reports] == sorted(JOBS)
    for job in job_reports:
        every = JOBS[job["name"]].every
        assert job == {
            "name": job["name"], "every": every, "lastRunAt": MOMENT, "nextRunAt": MOMENT, "lastError": None,
        }  # fmt: skip
        wait = datetime.fromisoformat(job["nextRunAt"]) - real_now()
        assert wait < timedelta(seconds=every)


async def test_only_users_can_read_jobs(desk: Desk) -> None:
    secret = {"X-Org-Secret": desk.secret}
    for headers, status, code in (({}, 401, "missing_credential"), (secret, 403, "access_token_required")):
        answer = await desk.api.http.get("/jobs", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_unknown_query_parameters_are_rejected(desk: Desk) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/jobs"):
        answer = await desk.admin.get(path, params={"verbose": "1"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "verbose")


def test_the_operations_without_credentials_are_served_under_overload() -> None:
    open_paths = {
        route.path for route in router.routes if isinstance(route, APIRoute) and not find_declaration(route.endpoint)
    }

    assert open_paths == OPERATIONAL_PATHS

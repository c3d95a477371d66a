"""Move a sandbox's clock forward."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from app.core.database.pool import Database
from app.organisations.models import Organisation
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields


async def read_now(desk: Desk) -> datetime:
    return datetime.fromisoformat((await desk.admin.get("/org")).json()["now"])


async def read_offset(desk: Desk) -> timedelta:
    offset = await read_now(desk) - datetime.now(UTC)
    return timedelta(seconds=round(offset / timedelta(minutes=1)) * 60)


async def advance(desk: Desk, **by: object) -> httpx.Response:
    return await desk.admin.post("/org/clock/advance", by)


async def test_the_clock_moves_by_the_sum_of_days_hours_and_seconds(desk: Desk) -> None:
    answer = await advance(desk, days=1, hours=2, seconds=180)
    assert answer.status_code == 200
    assert answer.json()["fired"] == []
    assert await read_offset(desk) == timedelta(days=1, hours=2, minutes=3)
    assert abs(await read_now(desk) - datetime.fromisoformat(answer.json()["now"])) < timedelta(seconds=30)


async def test_moves_add_up_and_products_can_move_the_clock(api: Api, desk: Desk) -> None:
    await advance(desk, hours=1)
    answer = await api.http.post("/org/clock/advance", json={"hours": 1}, headers={"X-Org-Secret": desk.secret})
    assert answer.status_code == 200
    assert await read_offset(desk) == timedelta(hours=2)


async def test_concurrent_moves_all_take_effect(desk: Desk) -> None:
    answers = await asyncio.gather(*(advance(desk, hours=1) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert await read_offset(desk) == timedelta(hours=5)


async def test_due_timers_have_run_before_the_response(desk: Desk) -> None:
    ticket = await desk.open()
    due = (await desk.respond(ticket))["ticket"]["autoCloseAt"]
    assert [one["kind"] for one in (await advance(desk, days=26)).json()["fired"]] == []

    fired: list[dict[str, Any]] = (await advance(desk, days=4)).json()["fired"]
    assert {(one["kind"], one["ticketId"]) for one in fired} == {
        ("AUTO_CLOSE_REMINDER", ticket["id"]),
        ("AUTO_CLOSE", ticket["id"]),
    }
    assert [one["dueAt"] for one in fired] == sorted(one["dueAt"] for one in fired)
    assert next(one["dueAt"] for one in fired if one["kind"] == "AUTO_CLOSE") == due
    closed = await desk.read(ticket)
    assert (closed["status"], closed["closedAt"]) == ("CLOSED", due)


async def test_other_organisations_are_not_affected(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    ticket = await other.open()
    await other.respond(ticket)
    assert (await advance(desk, days=60)).json()["fired"] == []
    assert await read_offset(other) == timedelta(0)
    assert (await other.read(ticket))["status"] == "RESPONDED"


async def test_only_the_clock_of_a_sandbox_can_be_moved(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    assert_problem(await advance(desk, days=1), 403, "not_a_sandbox")
    by_secret = await api.http.post("/org/clock/advance", json={"days": 1}, headers={"X-Org-Secret": desk.secret})
    assert_problem(by_secret, 403, "not_a_sandbox")
    assert await read_offset(desk) == timedelta(0)


@pytest.mark.parametrize(
    "by",
    [{"days": 400}, {"hours": 9_600}, {"seconds": 34_560_000}, {"days": 399, "hours": 23, "seconds": 3600}],
)
async def test_the_clock_can_be_moved_by_up_to_400_days(desk: Desk, by: dict[str, int]) -> None:
    assert (await advance(desk, **by)).status_code == 200
    assert await read_offset(desk) == timedelta(days=400)


@pytest.mark.parametrize(
    ("by", "wrong"),
    [
        ({}, ""),
        ({"days": 0}, ""),
        ({"days": 0, "hours": 0, "seconds": 0}, ""),
        ({"days": 400, "seconds": 1}, ""),
        ({"days": 399, "hours": 25}, ""),
        ({"days": 401}, "days"),
        ({"days": -1}, "days"),
        ({"days": 2, "hours": -24}, "hours"),
        ({"seconds": -1}, "seconds"),
        ({"days": "1"}, "days"),
        ({"days": 1.0}, "days"),
        ({"days": True}, "days"),
        ({"days": None}, "days"),
        ({"seconds": 2**63}, "seconds"),
        ({"seconds": 2**70}, "seconds"),
        ({"hours": [1]}, "hours"),
        ({"minutes": 5}, "minutes"),
        ({"now": "2030-01-01T00:00:00Z"}, "now"),
    ],
)
async def test_an_invalid_distance_is_refused_and_the_clock_stays(
    desk: Desk, by: dict[str, object], wrong: str
) -> None:
    assert read_invalid_fields(await advance(desk, **by)) == {wrong}
    assert await read_offset(desk) == timedelta(0)


async def test_the_clock_can_be_at_most_a_hundred_years_ahead(desk: Desk) -> None:
    async with desk.database.session(desk.id) as db:
        far = timedelta(days=36_400)
        await db.execute(update(Organisation).where(Organisation.id == desk.id).values(clock_offset=far))
    assert read_invalid_fields(await advance(desk, days=101)) == {"days"}
    assert (await advance(desk, days=100)).status_code == 200
    assert await read_offset(desk) == timedelta(days=36_500)
    assert (await desk.open())["createdAt"] > "2100"


async def test_a_credential_is_required_to_move_the_clock(api: Api) -> None:
    assert_problem(await api.http.post("/org/clock/advance", json={"days": 1}), 401, "missing_credential")

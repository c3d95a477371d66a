"""GET /tickets/{id}/schedule."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

from dirty_equals import IsStr

from app.core.clock import real_now
from tests.organisation_client import Desk
from tests.tickets.rows import MOMENT, parse_time


async def test_the_schedule_tells_when_and_why_the_ticket_closes(desk: Desk) -> None:
    ticket = await desk.open()
    responded = (await desk.respond(ticket))["ticket"]

    schedule = (await desk.admin.get(f"/tickets/{ticket['id']}/schedule")).json()

    day = parse_time(responded["respondedAt"])
    assert schedule == {
        "items": [
            {
                "id": IsStr(regex="[0-9a-f-]{36}"),
                "kind": "AUTO_CLOSE",
                "dueAt": IsStr(regex=MOMENT),
                "reason": (
                    f"Replied to on {day:%Y-%m-%d}: closes after 30 days without a new reply. "
                    f"The requester is reminded on {day + timedelta(days=27):%Y-%m-%d}."
                ),
            }
        ]
    }
    assert schedule["items"][0]["dueAt"] == responded["autoCloseAt"]
    assert parse_time(responded["autoCloseAt"]) - day == timedelta(days=30)


async def test_the_schedule_is_on_the_organisations_clock(desk: Desk) -> None:
    ticket = await desk.open()
    responded = (await desk.respond(ticket))["ticket"]
    await desk.admin.post("/org/clock/advance", {"days": 28})

    item = (await desk.admin.get(f"/tickets/{ticket['id']}/schedule")).json()["items"][0]

    assert item["dueAt"] == responded["autoCloseAt"]
    assert "reminded" not in item["reason"]


async def test_the_days_are_those_of_the_organisation(desk: Desk) -> None:
    now = real_now()
    # One of the two is on another day than UTC at any time.
    zone = next(zone for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago")
                if now.astimezone(ZoneInfo(zone)).date() != now.date())  # fmt: skip
    await desk.admin.patch("/org", {"timezone": zone})
    ticket = await desk.open()
    replied_at = parse_time((await desk.respond(ticket))["ticket"]["respondedAt"])

    (item,) = (await desk.admin.get(f"/tickets/{ticket['id']}/schedule")).json()["items"]

    assert f"Replied to on {replied_at.astimezone(ZoneInfo(zone)):%Y-%m-%d}:" in item["reason"]


async def test_an_action_keeps_its_id_when_it_is_put_off(desk: Desk) -> None:
    ticket, other = await desk.open(), await desk.open()
    ids = []
    for one in (ticket, ticket, other):
        await desk.respond(one)
        ids.append((await desk.admin.get(f"/tickets/{one['id']}/schedule")).json()["items"][0]["id"])
    assert ids[0] == ids[1] != ids[2]


async def test_a_ticket_without_a_countdown_has_an_empty_schedule(desk: Desk) -> None:
    ticket = await desk.open()
    new = await desk.admin.get(f"/tickets/{ticket['id']}/schedule")
    await desk.respond(ticket)
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": "IN_PROGRESS"})
    taken_up = await desk.admin.get(f"/tickets/{ticket['id']}/schedule")
    await desk.admin.patch("/me", {"available": False})
    unassigned = await desk.admin.get(f"/tickets/{(await desk.open())['id']}/schedule")

    assert [response.json() for response in (new, taken_up, unassigned)] == [{"items": []}] * 3


async def test_the_schedule_can_be_read_while_the_ticket_is_being_replied_to(desk: Desk) -> None:
    for _ in range(10):
        ticket = await desk.open()
        path = f"/tickets/{ticket['id']}"
        reads = [desk.admin.get(f"{path}/schedule") for _ in range(4)]
        response, *schedules = await asyncio.gather(desk.admin.post(f"{path}/respond", {"message": "Fixed."}), *reads)
        assert response.status_code == 201
        assert {schedule.status_code for schedule in schedules} == {200}

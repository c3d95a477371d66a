"""GET /tickets/{id}, with its schedule."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from dirty_equals import IsStr

from app.access.permissions import RoleKind
from tests.organisation_client import Desk
from tests.tickets.rows import MOMENT, at
from tests.tickets.users import joins


async def test_a_ticket_is_read_with_its_responses_oldest_first(desk: Desk) -> None:
    bo = await desk.another_admin()
    ticket = await desk.open()
    first = await desk.respond(ticket, "We are looking at it.")
    second = (await bo.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})).json()

    answer = await desk.admin.get(f"/tickets/{ticket['id']}")

    read = answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"3"'
    assert read.pop("comments") == [
        {
            "id": first["id"],
            "message": "We are looking at it.",
            "author": {"id": str(desk.admin.id), "email": desk.admin.email, "firstName": "Ada", "lastName": "Lovelace"},
            "createdAt": first["createdAt"],
        },
        {
            "id": second["id"],
            "message": "Fixed.",
            "author": {"id": str(bo.id), "email": bo.email, "firstName": "Ada", "lastName": "Lovelace"},
            "createdAt": second["createdAt"],
        },
    ]
    assert read == second["ticket"]


async def test_a_new_ticket_has_no_responses(desk: Desk) -> None:
    ticket = await desk.open()

    assert await desk.read(ticket) == {**ticket, "comments": []}


async def test_responses_are_for_whom_comments_are(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)
    path = f"/tickets/{ticket['id']}"
    for denied, seen in ([], 1), (["comments:view"], 0):
        for role in (RoleKind.ENGINEER, RoleKind.ADMIN):
            reader = await joins(desk, role, denied=denied)
            answer = await reader.get(path)
            assert answer.status_code == 200
            read = answer.json()
            assert (read["status"], len(read["comments"])) == ("RESPONDED", seen)
    product = await desk.api.http.get(path, headers={"X-Org-Secret": desk.secret})
    assert len(product.json()["comments"]) == 1


async def test_the_product_reads_a_ticket_its_history_and_its_schedule_with_the_secret(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)

    for path in ("", "/history", "/schedule"):
        by_product = await desk.api.http.get(f"/tickets/{ticket['id']}{path}", headers={"X-Org-Secret": desk.secret})
        by_admin = await desk.admin.get(f"/tickets/{ticket['id']}{path}")
        assert by_product.status_code == 200
        assert by_product.json() == by_admin.json()


async def test_the_secret_is_not_taken_from_the_address(desk: Desk) -> None:
    ticket = await desk.open()

    answer = await desk.api.http.get(f"/tickets/{ticket['id']}", params={"secret": desk.secret})

    assert answer.status_code in {401, 422}
    assert desk.secret not in answer.text


async def test_an_id_that_is_none_is_bad_input(desk: Desk) -> None:
    answer = await desk.admin.get("/tickets/42")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "id")


async def test_the_schedule_says_when_and_why_the_ticket_closes(desk: Desk) -> None:
    ticket = await desk.open()
    answered = (await desk.respond(ticket))["ticket"]

    schedule = (await desk.admin.get(f"/tickets/{ticket['id']}/schedule")).json()

    day = at(answered["respondedAt"])
    assert schedule == {
        "items": [
            {
                "kind": "AUTO_CLOSE",
                "dueAt": IsStr(regex=MOMENT),
                "reason": (
                    f"Answered on {day:%Y-%m-%d}: closes after 30 days without a new answer. "
                    f"The requester is reminded on {day + timedelta(days=27):%Y-%m-%d}."
                ),
            }
        ]
    }
    assert schedule["items"][0]["dueAt"] == answered["autoCloseAt"]
    assert at(answered["autoCloseAt"]) - day == timedelta(days=30)


async def test_the_schedule_is_on_the_organisations_clock(desk: Desk) -> None:
    ticket = await desk.open()
    answered = (await desk.respond(ticket))["ticket"]
    await desk.admin.post("/org/clock/advance", {"days": 28})

    item = (await desk.admin.get(f"/tickets/{ticket['id']}/schedule")).json()["items"][0]

    assert item["dueAt"] == answered["autoCloseAt"]
    assert "reminded" not in item["reason"]


async def test_nothing_is_scheduled_for_a_ticket_that_waits_for_no_requester(desk: Desk) -> None:
    ticket = await desk.open()
    new = await desk.admin.get(f"/tickets/{ticket['id']}/schedule")
    await desk.respond(ticket)
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": "IN_PROGRESS"})
    taken_up = await desk.admin.get(f"/tickets/{ticket['id']}/schedule")
    await desk.admin.patch("/me", {"available": False})
    unassigned = await desk.admin.get(f"/tickets/{(await desk.open())['id']}/schedule")

    assert [answer.json() for answer in (new, taken_up, unassigned)] == [{"items": []}] * 3


async def test_the_schedule_can_be_read_while_the_ticket_is_being_answered(desk: Desk) -> None:
    for _ in range(10):
        ticket = await desk.open()
        path = f"/tickets/{ticket['id']}"
        reads = [desk.admin.get(f"{path}/schedule") for _ in range(4)]
        answer, *schedules = await asyncio.gather(desk.admin.post(f"{path}/respond", {"message": "Fixed."}), *reads)
        assert answer.status_code == 201
        assert {schedule.status_code for schedule in schedules} == {200}

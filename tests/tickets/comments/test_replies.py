"""POST /tickets/{id}/respond: the comment, and the countdown that it starts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from dirty_equals import IsStr

from tests.organisation_client import Desk
from tests.tickets.rows import (
    MOMENT,
    assert_events_are_numbered_without_gaps,
    event_types,
    parse_time,
    read_event_numbers,
    read_ticket_timers,
)


async def test_the_response_to_a_reply_has_the_comment_and_its_ticket(desk: Desk) -> None:
    ticket = await desk.open()

    response = await desk.admin.post(f"/tickets/{ticket['id']}/respond", {"message": " Mended.\r\nReally. "})

    reply = response.json()
    assert response.status_code == 201
    assert response.headers["etag"] == '"2"'
    assert response.headers["location"] == f"/tickets/{ticket['id']}"
    moment = reply["createdAt"]
    assert reply == {
        "id": IsStr(regex=r"[0-9a-f-]{36}"),
        "ticketId": ticket["id"],
        "message": "Mended.\nReally.",
        "author": {"id": str(desk.admin.id), "email": desk.admin.email, "firstName": "Ada", "lastName": "Lovelace"},
        "createdAt": IsStr(regex=MOMENT),
        "ticket": ticket
        | {
            "status": "RESPONDED",
            "respondedAt": moment,
            "updatedAt": moment,
            "autoCloseAt": (parse_time(moment) + timedelta(days=30)).isoformat().replace("+00:00", "Z"),
            "version": 2,
        },
    }


async def test_the_history_has_the_reply_and_the_change_of_status(desk: Desk) -> None:
    ticket = await desk.open()
    response = await desk.respond(ticket)

    responded, moved = (await desk.history(ticket))[-2:]

    assert (responded["type"], responded["data"]) == ("ticket.responded", {"commentId": response["id"]})
    assert (moved["type"], moved["data"]) == ("ticket.status_changed", {"from": "OPEN", "to": "RESPONDED"})
    assert responded["actor"] == moved["actor"] == {"type": "USER"} | response["author"]


async def test_another_reply_restarts_the_countdown(desk: Desk) -> None:
    ticket = await desk.open()
    first = (await desk.respond(ticket))["ticket"]
    await desk.admin.post("/org/clock/advance", {"days": 28})

    second = (await desk.respond(ticket, "Now it really is."))["ticket"]
    fired = (await desk.admin.post("/org/clock/advance", {"days": 3})).json()["fired"]

    assert parse_time(second["respondedAt"]) - parse_time(first["respondedAt"]) >= timedelta(days=28)
    assert parse_time(second["autoCloseAt"]) - parse_time(second["respondedAt"]) == timedelta(days=30)
    assert second["version"] == first["version"] + 1
    assert fired == []
    assert (await desk.read(ticket))["status"] == "RESPONDED"
    assert set(await read_ticket_timers(desk, ticket)) == {"AUTO_CLOSE", "AUTO_CLOSE_REMINDER"}
    assert (await event_types(desk, ticket))[2:] == [
        "ticket.responded",
        "ticket.status_changed",
        "ticket.closing_soon",
        "ticket.responded",
    ]


async def test_the_countdown_has_the_length_set_at_the_time_of_the_reply(desk: Desk) -> None:
    before = await desk.open()
    await desk.respond(before)
    assert (await desk.admin.patch("/org", {"autoCloseDays": 10})).status_code == 200
    after = await desk.open()
    await desk.respond(after)

    countdown = {}
    for ticket in (before, after):
        read = await desk.read(ticket)
        countdown[ticket["number"]] = parse_time(read["autoCloseAt"]) - parse_time(read["respondedAt"])
        due = await read_ticket_timers(desk, ticket)
        assert due["AUTO_CLOSE"] == parse_time(read["autoCloseAt"])
        assert due["AUTO_CLOSE"] - due["AUTO_CLOSE_REMINDER"] == timedelta(days=3)
    assert countdown == {1: timedelta(days=30), 2: timedelta(days=10)}


@pytest.mark.parametrize("days", [1, 3])
async def test_a_short_countdown_has_no_reminder(desk: Desk, days: int) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)
    await desk.admin.patch("/org", {"autoCloseDays": days})

    await desk.respond(ticket, "Now it really is.")

    assert set(await read_ticket_timers(desk, ticket)) == {"AUTO_CLOSE"}
    fired = (await desk.admin.post("/org/clock/advance", {"days": days})).json()["fired"]
    assert [one["kind"] for one in fired] == ["AUTO_CLOSE"]
    assert "ticket.closing_soon" not in await event_types(desk, ticket)


@pytest.mark.parametrize("status", ["IN_PROGRESS", "RESOLVED"])
async def test_a_reply_makes_a_ticket_of_any_other_status_responded(desk: Desk, status: str) -> None:
    ticket = await desk.open()
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": status})

    responded = (await desk.respond(ticket))["ticket"]

    assert responded["status"] == "RESPONDED"
    assert (await desk.history(ticket))[-1]["data"] == {"from": status, "to": "RESPONDED"}


async def test_a_closed_ticket_cannot_be_replied_to(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": "CLOSED"})
    before, events = await desk.read(ticket), await read_event_numbers(desk)

    response = await desk.admin.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})

    assert (response.status_code, response.json()["code"]) == (409, "ticket_closed")
    assert await desk.read(ticket) == before
    assert await read_event_numbers(desk) == events
    assert await read_ticket_timers(desk, ticket) == {}


async def test_a_reopened_ticket_can_be_replied_to_again(desk: Desk) -> None:
    ticket = await desk.open()
    for status in ("CLOSED", "OPEN"):
        await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": status})

    assert (await desk.respond(ticket))["ticket"]["status"] == "RESPONDED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": " \n\t"}, "message"),
        ({"message": None}, "message"),
        ({"message": "x" * 20_001}, "message"),
        ({"message": "a\x07b"}, "message"),
        ({"message": "Fixed.", "status": "CLOSED"}, "status"),
        ({"message": "Fixed.", "author": "somebody"}, "author"),
    ],
)
async def test_an_invalid_reply_is_refused_and_changes_nothing(desk: Desk, body: object, field: str) -> None:
    ticket = await desk.open()

    response = await desk.admin.post(f"/tickets/{ticket['id']}/respond", body)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert await desk.read(ticket) == ticket | {"comments": []}
    assert await read_ticket_timers(desk, ticket) == {}
    await assert_events_are_numbered_without_gaps(desk)

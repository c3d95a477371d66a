"""GET /tickets/{id}/history."""

from __future__ import annotations

import pytest
from dirty_equals import IsPositiveInt, IsStr

from tests.organisation_client import Desk
from tests.tickets.rows import MOMENT


async def test_the_history_has_all_events_and_their_actors_oldest_first(desk: Desk) -> None:
    bo = await desk.another_admin(available=False)
    ticket = await desk.open()
    await bo.patch(f"/tickets/{ticket['id']}", {"priority": "HIGH", "assigneeId": str(bo.id)})
    await desk.respond(ticket)
    await desk.admin.post("/org/clock/advance", {"days": 30})

    history = await desk.history(ticket)

    product = {"type": "ORGANISATION", "id": str(desk.id)}
    system = {"type": "SYSTEM"}
    ada = {"type": "USER", "id": str(desk.admin.id), "email": desk.admin.email, "firstName": "Ada"}
    ada["lastName"] = "Lovelace"
    by_bo = ada | {"id": str(bo.id), "email": bo.email}
    assert [(event["type"], event["actor"]) for event in history] == [
        ("ticket.created", product),
        ("ticket.assigned", system),
        ("ticket.updated", by_bo),
        ("ticket.assigned", by_bo),
        ("ticket.responded", ada),
        ("ticket.status_changed", ada),
        ("ticket.closing_soon", system),
        ("ticket.status_changed", system),
    ]
    assert all(
        event
        == {
            "id": IsStr,
            "seq": IsPositiveInt,
            "type": IsStr,
            "actor": event["actor"],
            "data": event["data"],
            "createdAt": IsStr(regex=MOMENT),
        }
        for event in history
    )
    assert len({event["id"] for event in history}) == len(history)
    numbers = [event["seq"] for event in history]
    assert numbers == sorted(set(numbers))
    assert [event["createdAt"] for event in history] == sorted(event["createdAt"] for event in history)


async def test_a_ticket_has_its_own_history(desk: Desk) -> None:
    first, second = await desk.open(), await desk.open()
    await desk.respond(first)

    assert [event["type"] for event in await desk.history(second)] == ["ticket.created", "ticket.assigned"]
    assert len(await desk.history(first)) == 4


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
async def test_pages_of_the_history_stay_complete_while_it_grows(desk: Desk, limit: int) -> None:
    ticket = await desk.open()
    for place in range(4):
        await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": f"Title {place}"})
    whole, found = await desk.history(ticket), []
    cursor: str | None = None
    while True:
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = (await desk.admin.get(f"/tickets/{ticket['id']}/history", params=params)).json()
        assert set(page) == {"items", "nextCursor"}
        found += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        await desk.open()  # its events get the numbers in between

    assert found == whole


async def test_a_page_has_twenty_events_by_default(desk: Desk) -> None:
    ticket = await desk.open()
    for place in range(20):
        await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": f"Title {place}"})
    path = f"/tickets/{ticket['id']}/history"

    first = (await desk.admin.get(path)).json()
    rest = (await desk.admin.get(path, params={"cursor": first["nextCursor"]})).json()

    assert (len(first["items"]), len(rest["items"]), rest["nextCursor"]) == (20, 2, None)


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 101}, {"cursor": "x"}, {"sort": "-createdAt"}, {"since": 1}]
)
async def test_an_invalid_or_unknown_parameter_is_refused(desk: Desk, params: dict[str, str]) -> None:
    ticket = await desk.open()

    answer = await desk.admin.get(f"/tickets/{ticket['id']}/history", params=params)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, next(iter(params)))


async def test_a_cursor_of_another_tickets_history_is_refused(desk: Desk) -> None:
    first, second = await desk.open(), await desk.open()
    page = (await desk.admin.get(f"/tickets/{first['id']}/history", params={"limit": 1})).json()

    answer = await desk.admin.get(f"/tickets/{second['id']}/history", params={"cursor": page["nextCursor"]})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")

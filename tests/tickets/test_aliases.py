"""The deprecated names of the first clients work like the current names. In bodies they may not contradict them."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from dirty_equals import IsStr

from tests.organisation_client import JSON, Desk

MIA, LEO = "mia@customer.example", "leo@customer.example"
TEXTS = {"title": "It broke", "description": "All of it."}


async def post(desk: Desk, **fields: object) -> httpx.Response:
    return await desk.api.http.post("/tickets", json=TEXTS | fields, headers={"X-Org-Secret": desk.secret})


async def list_ticket_numbers(desk: Desk, **filters: str | list[str]) -> list[int]:
    answer = await desk.admin.get("/tickets", params=filters)
    assert answer.status_code == 200, answer.text
    return [ticket["number"] for ticket in answer.json()["items"]]


def fields_of(answer: httpx.Response) -> list[str]:
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    return [error["field"] for error in answer.json()["errors"]]


async def test_responses_repeat_the_requester_and_the_assignee_under_the_deprecated_names(desk: Desk) -> None:
    ticket = await desk.open()
    responded = (await desk.respond(ticket))["ticket"]
    (listed,) = (await desk.admin.get("/tickets")).json()["items"]

    for one in (ticket, responded, listed, await desk.read(ticket)):
        assert (one["addedBy"], one["adminId"]) == (one["requester"]["email"], one["assigneeId"])
        assert (one["addedBy"], one["adminId"]) == (MIA, str(desk.admin.id))
    unassigned = (await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": None})).json()
    assert (unassigned["adminId"], unassigned["assigneeId"], unassigned["assignee"]) == (None, None, None)


async def test_added_by_names_the_requester(desk: Desk) -> None:
    answer = await post(desk, addedBy=f" {MIA.upper()}")

    assert answer.status_code == 201
    assert answer.json()["requester"] == {"id": IsStr(), "email": MIA, "name": None, "userId": None}


async def test_added_by_may_repeat_the_requester_and_not_contradict_it(desk: Desk) -> None:
    assert (await post(desk, requester={"email": MIA}, addedBy=MIA.upper())).status_code == 201

    assert fields_of(await post(desk, requester={"email": MIA}, addedBy=LEO)) == ["addedBy"]
    assert await list_ticket_numbers(desk) == [1]


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_admin_id_names_the_assignee(desk: Desk, method: str) -> None:
    bo, ticket = await desk.another_admin(), await desk.open()

    async def change(body: JSON) -> httpx.Response:
        return await desk.api.http.request(method, f"/tickets/{ticket['id']}", json=body, headers=desk.admin.headers)

    for assignee in (str(bo.id), None, str(desk.admin.id)):
        assert (await change({"adminId": assignee})).json()["assigneeId"] == assignee
    for assignee in (str(bo.id), None):
        assert (await change({"assigneeId": assignee, "adminId": assignee})).json()["assigneeId"] == assignee
    for contradiction in (
        {"assigneeId": str(bo.id), "adminId": str(desk.admin.id)},
        {"assigneeId": None, "adminId": str(bo.id)},
        {"assigneeId": str(bo.id), "adminId": None},
    ):
        assert fields_of(await change(contradiction)) == ["adminId"]
    assert (await desk.read(ticket))["assigneeId"] is None


async def test_an_assignee_who_may_not_be_assigned_is_refused_under_either_name(desk: Desk) -> None:
    ticket = await desk.open()

    for name in ("assigneeId", "adminId"):
        answer = await desk.admin.patch(f"/tickets/{ticket['id']}", {name: str(uuid4())})
        assert (answer.status_code, answer.json()["code"]) == (422, "assignee_not_active")


async def test_the_deprecated_filters_find_the_same_as_the_current_ones(desk: Desk) -> None:
    await desk.open(), await desk.open(requester={"email": LEO})
    await desk.admin.patch("/me", {"available": False})
    await desk.open()

    assert (
        await list_ticket_numbers(desk, customerEmail=MIA) == await list_ticket_numbers(desk, requester=MIA) == [3, 1]
    )
    assert (
        await list_ticket_numbers(desk, adminEmail=desk.admin.email)
        == await list_ticket_numbers(desk, assignee=desk.admin.email)
        == [2, 1]
    )
    assert await list_ticket_numbers(desk, customerEmail=MIA, assignee="none") == [3]
    assert await list_ticket_numbers(desk, customerEmail=MIA, requester=MIA) == [3, 1]


async def test_a_deprecated_filter_and_the_current_one_both_narrow_the_list(desk: Desk) -> None:
    await desk.open(), await desk.open(requester={"email": LEO})

    assert await list_ticket_numbers(desk, requester=LEO, customerEmail=[MIA, LEO]) == [2]
    assert await list_ticket_numbers(desk, requester=LEO, customerEmail=MIA) == []
    assert await list_ticket_numbers(desk, assignee="me", adminEmail=desk.admin.email) == [2, 1]


async def test_a_deprecated_filter_may_repeat_the_current_one_in_another_order_and_case(desk: Desk) -> None:
    await desk.open()

    answer = await desk.admin.get(
        "/tickets", params={"requester": [LEO, MIA], "customerEmail": [MIA.upper(), LEO, MIA]}
    )

    assert [ticket["number"] for ticket in answer.json()["items"]] == [1]


class TestDeprecatedOperations:
    async def test_every_response_says_since_when_and_until_when(self, desk: Desk) -> None:
        ticket = await desk.open()
        path = f"/tickets/{ticket['id']}"
        stranger = {"Authorization": "Bearer x"}
        for deprecated, body in ((path, {"priority": "HIGH"}), (f"{path}/change_status", {"status": "CLOSED"})):
            answers = [
                await desk.admin.post(deprecated, body),
                await desk.admin.post(deprecated, {"colour": "red"}),
                await desk.admin.post(deprecated.replace(ticket["id"], str(uuid4())), body),
                await desk.api.http.post(deprecated, json=body, headers=stranger),
            ]
            assert [answer.status_code for answer in answers] == [200, 422, 404, 401]
            assert {answer.headers["deprecation"] for answer in answers} == {"@1795737600"}  # 2026-11-27
            assert {answer.headers["sunset"] for answer in answers} == {"Sat, 27 Nov 2027 00:00:00 GMT"}

    async def test_other_operations_do_not(self, desk: Desk) -> None:
        ticket = await desk.open()
        for answer in (
            await desk.admin.patch(f"/tickets/{ticket['id']}", {"priority": "HIGH"}),
            await desk.admin.get(f"/tickets/{ticket['id']}"),
            await desk.admin.get("/nothing"),
            await desk.api.http.put(f"/tickets/{ticket['id']}"),
            await desk.api.http.delete(f"/tickets/{ticket['id']}/change_status"),
        ):
            assert not {"deprecation", "sunset"} & answer.headers.keys(), answer.status_code

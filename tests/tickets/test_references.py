"""A ticket's reference stands for its id in paths."""

from __future__ import annotations

import pytest

from app.tickets.references import TicketReference, parse_ticket_key
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import assert_problem
from tests.tickets.users import add_customer

OPERATIONS = [
    ("GET", "", None), ("GET", "/history", None), ("GET", "/schedule", None), ("PATCH", "", {"priority": "LOW"}),
    ("POST", "", {"priority": "HIGH"}), ("POST", "/accept", None), ("POST", "/respond", {"message": "Fixed."}),
    ("POST", "/change_status", {"status": "OPEN"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
async def test_every_operation_takes_a_reference_in_any_case(
    api: Api, desk: Desk, method: str, path: str, body: object
) -> None:
    ticket = await desk.open()
    for reference in (ticket["reference"], ticket["reference"].lower()):
        answer = await api.http.request(method, f"/tickets/{reference}{path}", json=body, headers=desk.admin.headers)
        assert answer.is_success, answer.text
    assert answer.json().get("id", ticket["id"]) == ticket["id"] or answer.json()["ticketId"] == ticket["id"]


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
async def test_a_reference_that_is_not_the_organisations_is_a_404(
    api: Api, desk: Desk, method: str, path: str, body: object
) -> None:
    stranger = await create_desk(api, desk.database)
    await desk.open()
    prefix, number = (await desk.open())["reference"].split("-")
    own = (await stranger.open())["reference"].partition("-")[0]
    for reference in (f"{prefix}-3", f"OTHER-{number}", f"{own}-{number}", f"{prefix}-999999999"):
        answer = await api.http.request(method, f"/tickets/{reference}{path}", json=body, headers=desk.admin.headers)
        assert_problem(answer, 404, "ticket_not_found")


async def test_customers_reach_only_their_own_tickets_by_reference(desk: Desk) -> None:
    customer = await add_customer(desk)
    other = (await desk.open())["reference"]
    own = (await customer.post("/tickets", {"title": "Mine", "description": "All of it."})).json()["reference"]
    for path in ("", "/history", "/schedule"):
        assert (await customer.get(f"/tickets/{own}{path}")).status_code == 200
        assert_problem(await customer.get(f"/tickets/{other}{path}"), 404, "ticket_not_found")


@pytest.mark.parametrize("text", ["GROWFIN", "GROWFIN-", "GROWFIN-0", "GROWFIN-01", "-1", "A-1-2", "A-1 ", "Ä-1"])
def test_other_texts_are_no_references(text: str) -> None:
    with pytest.raises(ValueError, match="or its reference, such as GROWFIN-42"):
        parse_ticket_key(text)


def test_a_reference_has_a_prefix_and_a_number() -> None:
    parsed = parse_ticket_key("growfin-42")
    assert isinstance(parsed, TicketReference)
    assert (parsed.prefix, parsed.number) == ("GROWFIN", 42)

"""The schemas of the events of a ticket's history."""

from __future__ import annotations

from app.core.outbox.events import list_event_classes
from app.tickets.events import TicketEvent
from tests.docs.openapi import BY_ID, JSON_MEDIA, SCHEMAS, find_schema_errors
from tests.organisation_client import Desk
from tests.tickets.rows import work_off_timers

TYPES = {event.type for event in list_event_classes(TicketEvent)}
HISTORY = BY_ID["getTicketHistory"].definition["responses"]["200"]["content"][JSON_MEDIA]["schema"]


async def test_a_history_with_every_type_of_event_matches_its_schema(desk: Desk) -> None:
    bo = await desk.another_admin(available=False)
    ticket = await desk.open()
    path = f"/tickets/{ticket['id']}"
    await bo.patch(path, {"priority": "HIGH", "description": "Some of it.", "assigneeId": None})
    await work_off_timers(desk.database)
    await bo.post(f"{path}/accept")
    await desk.respond(ticket)
    await desk.admin.post("/org/clock/advance", {"days": 30})

    answer = await desk.admin.get(f"{path}/history", params={"limit": 100})

    assert find_schema_errors(answer.json(), HISTORY, closed=True) == []
    assert {event["type"] for event in answer.json()["items"]} == TYPES


def test_each_type_of_event_has_its_own_schema() -> None:
    items = SCHEMAS["TicketEventPage"]["properties"]["items"]["items"]

    assert items["discriminator"]["propertyName"] == "type"
    assert items["discriminator"]["mapping"].keys() == TYPES
    for event_type, reference in items["discriminator"]["mapping"].items():
        schema = SCHEMAS[reference.rpartition("/")[2]]
        assert schema["properties"]["type"]["const"] == event_type
        assert schema["properties"]["data"].keys() == {"$ref", "description"}
        assert schema["description"]
    assert [one["$ref"] for one in items["oneOf"]] == [
        f"#/components/schemas/{event.__name__}Event" for event in list_event_classes(TicketEvent)
    ]


async def test_an_event_with_the_data_of_another_type_does_not_match(desk: Desk) -> None:
    ticket = await desk.open()
    answer = await desk.admin.get(f"/tickets/{ticket['id']}/history")
    history = answer.json()
    history["items"][0]["type"], history["items"][1]["type"] = (
        history["items"][1]["type"],
        history["items"][0]["type"],
    )

    assert find_schema_errors(history, HISTORY, closed=True) != []

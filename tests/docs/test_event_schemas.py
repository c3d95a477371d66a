"""The schemas of events: those of a ticket's history, and those of the whole catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.core.outbox.events import Event, get_data_model, list_event_classes
from app.core.outbox.models import EventRow
from app.tickets.events import TicketEvent
from tests.docs.openapi import BY_ID, DOCUMENT, JSON_MEDIA, SCHEMAS, find_schema_errors
from tests.organisation_client import Desk
from tests.tickets.rows import run_due_timers

TYPES = {event.type for event in list_event_classes(TicketEvent)}
CATALOGUE = [event for event in list_event_classes(Event) if event.__module__.startswith("app.")]
HISTORY = BY_ID["getTicketHistory"].definition["responses"]["200"]["content"][JSON_MEDIA]["schema"]


async def test_a_history_with_every_type_of_event_matches_its_schema(desk: Desk) -> None:
    bo = await desk.another_admin(available=False)
    ticket = await desk.open()
    path = f"/tickets/{ticket['id']}"
    await bo.patch(path, {"priority": "HIGH", "description": "Some of it.", "assigneeId": None})
    await run_due_timers(desk.database)
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


# --- the whole catalogue ----------------------------------------------------------------------------------------------


def schema_of_data(event: type[Event]) -> Any:
    data = SCHEMAS[f"{event.__name__}Event"]["properties"].get("data", {})
    return SCHEMAS[data["$ref"].rpartition("/")[2]] if "$ref" in data else data


def test_every_event_of_the_catalogue_is_documented_once() -> None:
    names = [one["$ref"].rpartition("/")[2] for one in SCHEMAS["Event"]["oneOf"]]
    documented = [SCHEMAS[name]["properties"]["type"]["const"] for name in names]

    assert DOCUMENT["x-events"] == {"$ref": "#/components/schemas/Event"}
    assert documented == [event.type for event in CATALOGUE]
    assert len(set(documented)) == len(documented) > len(TYPES)
    assert all(SCHEMAS[name]["properties"]["type"]["description"] for name in names)


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.type)
def test_the_schema_of_an_event_has_the_fields_of_its_data(event: type[Event]) -> None:
    fields = get_data_model(event).model_fields
    stored = {event.get_stored_name(name) for name in fields}
    required = {event.get_stored_name(name) for name, field in fields.items() if field.is_required()}

    schema = schema_of_data(event)

    assert schema.get("properties", {}).keys() == stored
    assert set(schema.get("required", [])) == required


async def test_the_stored_events_of_an_organisation_match_their_schemas(desk: Desk) -> None:
    bo = await desk.another_admin(available=False)
    ticket = await desk.open()
    await desk.respond(ticket)
    await bo.patch("/org", {"name": "Another name"})
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id))).all()
    events = [
        {"id": str(row.id), "seq": row.seq, "type": row.type, "actor": {"type": row.actor_type}, "data": row.data,
         "createdAt": row.created_at.isoformat()}
        for row in rows
    ]  # fmt: skip

    schema = {"$ref": "#/components/schemas/Event"}

    assert {"organisation.signed_up", "user.signed_up", "ticket.created"} <= {event["type"] for event in events}
    assert [find_schema_errors(event, schema) for event in events if find_schema_errors(event, schema)] == []
    for event in events:
        assert find_schema_errors({**event, "type": "ticket.burnt"}, schema) != []

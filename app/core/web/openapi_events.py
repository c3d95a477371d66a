"""The schemas of all events in the OpenAPI document, made from the catalogue, so that new events are documented too."""

from __future__ import annotations

import inspect
from typing import Any

from app.core.outbox.events import ActorType, Event, get_data_model, list_event_classes

_REFERENCE = "#/components/schemas/{model}"
_ENVELOPE: dict[str, Any] = {
    "id": {"type": "string", "format": "uuid", "description": "The event's id."},
    "seq": {"type": "integer", "description": "The number of the event: 1, 2, 3… in the organisation."},
    "actor": {
        "type": "object",
        "description": "Who caused it.",
        "required": ["type"],
        "properties": {
            "type": {
                "type": "string",
                "enum": [one.value for one in ActorType],
                "description": "A user, a product of the organisation, or Tessera itself.",
            }
        },
    },
    "createdAt": {"type": "string", "format": "date-time", "description": "The organisation's time."},
}


def document_events(document: dict[str, Any]) -> None:
    """Add a schema for each event, unless an operation has one already, and `Event`, which is any of them.

    No operation returns events of all types. The document refers to `Event` in `x-events`.
    """
    schemas = document["components"]["schemas"]
    names = []
    for event in list_documented_events():
        name = f"{event.__name__}Event"
        names.append(name)
        if name not in schemas:
            schemas[name] = _make_schema(event, schemas)
    schemas["Event"] = {
        "type": "object",
        "description": "What happened in an organisation.",
        "required": list(_ENVELOPE),
        "properties": _ENVELOPE,
        "oneOf": [{"$ref": _REFERENCE.format(model=name)} for name in names],
    }
    document["x-events"] = {"$ref": _REFERENCE.format(model="Event")}


def list_documented_events() -> list[type[Event]]:
    """List the events of the service's own package."""
    package = Event.__module__.partition(".")[0]
    return [event for event in list_event_classes(Event) if event.__module__.partition(".")[0] == package]


def _make_schema(event: type[Event], schemas: dict[str, Any]) -> dict[str, Any]:
    """Describe the event's type, and its data if it has any; `Event` has the other members."""
    data = get_data_model(event).model_json_schema(mode="serialization", ref_template=_REFERENCE)
    for name, schema in data.pop("$defs", {}).items():
        schemas.setdefault(name, schema)
    members = {"type": {"const": event.type, "description": inspect.getdoc(event)}}
    if data["properties"]:
        members["data"] = data | {"description": "Details."}
    return {"type": "object", "required": list(members), "properties": members}

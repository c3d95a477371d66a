"""Examples of requests and responses, made from the examples of their fields, so that they cannot become outdated.

The example of a response repeats values from the example of the request, and has the overrides of the operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.fields import EXAMPLE_ID
from app.core.web.openapi import EXAMPLE_OVERRIDES

_BY_FORMAT = {
    "uuid": EXAMPLE_ID,
    "date-time": "2026-03-02T09:30:00.125Z",
    "email": "mia@customer.example",
}
_BY_TYPE: dict[str, Any] = {"string": "…", "integer": 1, "number": 1.0, "boolean": True, "object": {}, "null": None}


def add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add an example to the path parameters, to the request, and to the success responses of an operation.

    Args:
        schemas: the schemas that `$ref` can refer to, by name.
    """
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["example"] = make_example(parameter["schema"], schemas, whole=False)
    sent: dict[str, Any] = {}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if "examples" not in media:
            media.setdefault("example", make_example(media["schema"], schemas, whole=False))
        sent |= _select_plain_fields(media.get("example"))
    for status, response in operation["responses"].items():
        overrides = response.pop(EXAMPLE_OVERRIDES, {})
        for media in response.get("content", {}).values() if status.startswith("2") else ():
            if "example" not in media and "examples" not in media:
                example = make_example(media["schema"], schemas, whole=True)
                media["example"] = _override(_override(example, sent), overrides)


def _select_plain_fields(body: object) -> dict[str, Any]:
    """Return the fields of a request that its response repeats. Lists and objects may have more in the response."""
    fields = body.items() if isinstance(body, dict) else ()
    return {name: value for name, value in fields if not isinstance(value, (list, dict))}


def _override(example: Any, values: Mapping[str, Any]) -> Any:
    """Replace values of an example, at any depth, without adding fields that it does not have."""
    if not isinstance(example, dict):
        return example
    changed = dict(example)
    for name in example.keys() & values.keys():
        is_object = isinstance(values[name], Mapping)
        changed[name] = _override(example[name], values[name]) if is_object else values[name]
    return changed


def make_example(schema: dict[str, Any], schemas: dict[str, Any], *, whole: bool) -> Any:
    """Make an example of a JSON schema.

    Args:
        schemas: the schemas that `$ref` can refer to, by name.
        whole: whether objects get all fields, or only those that are required or have an example.
    """
    match {keyword: value for keyword, value in schema.items() if value is not None}:
        case {"examples": [given, *_]} | {"const": given} | {"default": given} | {"enum": [given, *_]}:
            return given
        case {"$ref": reference}:
            return make_example(schemas[reference.rpartition("/")[2]], schemas, whole=whole)
        case {"anyOf": [first, *others]}:
            # Most nullable fields are null at first. Objects are shown nevertheless, so that readers see their fields.
            is_null = {"type": "null"} in others and "$ref" not in first
            return None if is_null else make_example(first, schemas, whole=whole)
        case {"properties": properties}:
            required = schema.get("required", ())
            return {
                name: make_example(field, schemas, whole=whole)
                for name, field in properties.items()
                if whole or name in required or ("examples" in field and not field.get("deprecated"))
            }
        case {"type": "array", "items": items}:
            return [make_example(items, schemas, whole=whole)]
        case _:
            return _BY_FORMAT.get(schema.get("format", ""), _BY_TYPE.get(schema.get("type", "object")))

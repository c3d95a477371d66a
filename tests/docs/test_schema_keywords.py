"""The keywords of the OpenAPI document's schemas."""

from __future__ import annotations

from typing import Any

from tests.docs.openapi import DOCUMENT

# Of JSON Schema (draft 2020-12) and OpenAPI 3.1, as far as the document uses them. A misplaced constraint of a field
# appears under the name that it has in Python.
KEYWORDS = {
    "$ref", "additionalProperties", "allOf", "anyOf", "const", "contentMediaType", "default", "deprecated",
    "description", "discriminator", "enum", "examples", "exclusiveMinimum", "format", "items", "maxItems",
    "maxLength", "maximum", "minItems", "minLength", "minimum", "oneOf", "pattern", "properties", "readOnly",
    "required", "title", "type", "uniqueItems", "writeOnly",
}  # fmt: skip


def test_schemas_have_only_keywords_of_json_schema() -> None:
    found: set[str] = set()

    def visit(schema: Any) -> None:
        if isinstance(schema, dict):
            found.update(key for key in schema if not key.startswith("x-"))
            for name in ("properties", "patternProperties"):
                for one in schema.get(name, {}).values():
                    visit(one)
            for name in ("items", "additionalProperties", "anyOf", "allOf", "oneOf"):
                one = schema.get(name)
                for inner in one if isinstance(one, list) else [one]:
                    visit(inner)

    for schema in DOCUMENT["components"]["schemas"].values():
        visit(schema)
    assert found <= KEYWORDS
    assert {"minimum", "maximum", "maxLength"} <= found

"""Make generated JSON schemas and descriptions tidy: for readers and for client generators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# Keywords whose value is a schema, a list of schemas, or schemas by name.
_SCHEMA_KEYWORDS = ("items", "additionalProperties", "not", "contains", "propertyNames")
_LIST_KEYWORDS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAP_KEYWORDS = ("properties", "patternProperties", "$defs")

NULL = {"type": "null"}
_CONSTANT_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
# Markdown: a line that starts a block, and a line that is one by itself.
_BLOCK_START = re.compile(r"\s*([-*+] |\d+\. |[>|#<]|```)|\s{4}")
_WHOLE_BLOCK = re.compile(r"\s*([|#<]|```)")


def drop_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null among its alternatives."""
    alternatives = schema.get("anyOf", [])
    if NULL not in alternatives:
        return schema
    others = [one for one in alternatives if one != NULL]
    rest = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
    if rest.get("default", ...) is None:
        del rest["default"]
    return {**others[0], **rest} if len(others) == 1 else {**rest, "anyOf": others}


def remove_titles(schema: dict[str, Any]) -> None:
    """Remove the titles that pydantic makes. Client generators would name types after them."""
    for part in _iterate_schemas(schema):
        part.pop("title", None)


def name_enum_values(value: Any) -> None:
    """Add `x-enum-varnames` to all enums whose values are not valid names of constants, for client generators."""
    if isinstance(value, list):
        for item in value:
            name_enum_values(item)
    elif isinstance(value, dict):
        for item in value.values():
            name_enum_values(item)
        values = value.get("enum")
        if isinstance(values, list) and not all(_is_constant_name(one) for one in values):
            value.setdefault("x-enum-varnames", [_make_constant_name(str(one), values) for one in values])


def unwrap_descriptions(value: Any) -> None:
    """Join the lines of all paragraphs in descriptions: some viewers show each line break of the source code."""
    if isinstance(value, list):
        for item in value:
            unwrap_descriptions(item)
    elif isinstance(value, dict):
        for item in value.values():
            unwrap_descriptions(item)
        if isinstance(value.get("description"), str):
            value["description"] = unwrap(value["description"])


def unwrap(markdown: str) -> str:
    """Join the lines of each paragraph and list item; tables, headings and code stay as they are."""
    lines = [""]
    is_code = False
    for line in markdown.strip().splitlines():
        continues = lines[-1] and line.strip() and not (_WHOLE_BLOCK.match(lines[-1]) or _BLOCK_START.match(line))
        if continues and not is_code:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.rstrip())
        is_code ^= line.lstrip().startswith("```")
    return "\n".join(lines[1:])


def _iterate_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas inside it. A property may have the name of a keyword."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword in _SCHEMA_KEYWORDS:
        yield from _iterate_schemas(schema.get(keyword))
    for keyword in _LIST_KEYWORDS:
        for part in schema.get(keyword, ()):
            yield from _iterate_schemas(part)
    for keyword in _MAP_KEYWORDS:
        for part in schema.get(keyword, {}).values():
            yield from _iterate_schemas(part)


def _is_constant_name(value: object) -> bool:
    return not isinstance(value, str) or bool(_CONSTANT_NAME.fullmatch(value))


def _make_constant_name(value: str, values: list[Any]) -> str:
    """Make the name of an enum's value: `-createdAt` becomes `CREATED_AT_DESC`."""
    name = _WORD_BOUNDARY.sub("_", value.removeprefix("-")).strip("_").upper()
    if value.startswith("-"):
        return f"{name}_DESC"
    return f"{name}_ASC" if f"-{value}" in values else name

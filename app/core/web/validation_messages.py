"""Convert the faults that the framework finds in a request into messages for clients, without the terms of pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic.alias_generators import to_camel

from app.core.errors import FieldError
from app.core.web.json_bodies import MAX_NAME_LENGTH
from app.core.web.paging import InvalidCursor

MAX_FAULTS = 50  # in one response
MAX_MESSAGE_LENGTH = 500

BODY = ("body",)
# The types of fault of a value of which a model reads nothing.
UNREAD_BODY_FAULTS = frozenset({"model_attributes_type", "model_type", "dict_type"})
# By pydantic's type of fault, for the body as a whole.
_BODY_MESSAGES = {
    "missing": "A body is required: send a JSON object, with Content-Type: application/json.",
    "model_attributes_type": "The body must be a JSON object.",
    "model_type": "The body must be a JSON object.",
    "dict_type": "The body must be a JSON object.",
}

_TEXT = "This must be a text."
_NUMBER = "This must be a number."
_WHOLE_NUMBER = "This must be a whole number."
_BOOLEAN = "This must be true or false."
_CHOICE = "This must be {expected}."
_ID = "This must be an id (a UUID), such as 0190b8e5-7a3c-7d1e-9f42-3b6a5c8d1e20."
_TIME = "This must be a time such as 2026-03-02T09:30:00Z (RFC 3339)."
_LIST = "This must be a list."
_OBJECT = "This must be a JSON object."
# By pydantic's type of fault, filled in with its context.
_MESSAGES = {
    "extra_forbidden": "There is no such field.",
    "missing": "This is required.",
    "none_required": "This must be null.",
    "model_attributes_type": _OBJECT,
    "model_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "tuple_type": _LIST,
    "too_short": "This must have at least {min_length} items.",
    "too_long": "This may have at most {max_length} items.",
    "string_type": _TEXT,
    "string_sub_type": _TEXT,
    "string_unicode": "This must be a text of valid Unicode characters.",
    "string_too_long": "This may have at most {max_length} characters.",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": "This number is out of range.",
    "int_from_float": _WHOLE_NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "greater_than": "This must be more than {gt}.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than": "This must be less than {lt}.",
    "less_than_equal": "This must be at most {le}.",
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "enum": _CHOICE,
    "literal_error": _CHOICE,
    "uuid_type": _ID,
    "uuid_parsing": _ID,
    "uuid_version": _ID,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "timezone_aware": _TIME,
}
# The types whose own message is one of ours: those of our validators, and those that `routing` finds.
_OWN_MESSAGES = frozenset(
    {
        "value_error", "unknown_parameter", "repeated_parameter", "not_utf_8", "body_not_taken", "lone_surrogate",
        InvalidCursor.code,
    }
)  # fmt: skip
_OTHER = "This is not valid."


def read_faults(error: RequestValidationError) -> list[FieldError]:
    """List the first `MAX_FAULTS` faults, each with the path of its field in the request."""
    return [FieldError(_find_path(fault), _choose_message(fault)) for fault in error.errors()[:MAX_FAULTS]]


def _find_path(fault: Mapping[str, Any]) -> str:
    source, *path = fault["loc"]  # body, query, path or header
    if source == "header":
        return str(path[0]).title()
    if fault["type"] == "value_error":
        # If a default is not valid, pydantic names the field by its attribute.
        path = [to_camel(part) if "_" in str(part) else part for part in path]
    return ".".join(str(part)[:MAX_NAME_LENGTH] for part in path)


def _choose_message(fault: Mapping[str, Any]) -> str:
    kind, place, context = fault["type"], tuple(fault["loc"]), fault.get("ctx", {})
    if place == BODY and kind in _BODY_MESSAGES:
        return _BODY_MESSAGES[kind]
    if kind == "string_too_short":
        least = context["min_length"]
        return "This must not be empty." if least == 1 else f"This must have at least {least} characters."
    if kind in _OWN_MESSAGES:
        return str(fault["msg"]).removeprefix("Value error, ")[:MAX_MESSAGE_LENGTH]
    if kind == "extra_forbidden" and place[0] == "query":
        return "There is no such parameter."
    return _MESSAGES.get(kind, _OTHER).format_map(context)[:MAX_MESSAGE_LENGTH]

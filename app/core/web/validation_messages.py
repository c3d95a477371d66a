"""Convert the faults that the framework finds in a request into messages for clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from app.core.errors import FieldError

MAX_FAULTS = 50  # in one response
MAX_SUMMARISED_FAULTS = 3
MAX_NAME_LENGTH = 100
MAX_MESSAGE_LENGTH = 500

# By pydantic's type of fault; other types keep their own message.
_MESSAGES = {
    "json_invalid": "The body is not valid JSON.",
    "extra_forbidden": "There is no such field.",
    "missing": "This is required.",
    "model_attributes_type": "A JSON object is needed, with Content-Type: application/json.",
    "dict_type": "A JSON object is needed, with Content-Type: application/json.",
    "model_type": "A JSON object is needed, with Content-Type: application/json.",
}


def read_faults(error: RequestValidationError) -> list[FieldError]:
    """List the faults, each with the path of its field in the request."""
    return [FieldError(_find_path(fault), _choose_message(fault)) for fault in error.errors()]


def summarise(faults: Sequence[FieldError]) -> str:
    """Describe the first few faults in one line."""
    first = faults[:MAX_SUMMARISED_FAULTS]
    return " ".join(f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in first)


def _find_path(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "json_invalid":
        return ""  # malformed JSON has no fields, only offsets
    _source, *path = fault["loc"]  # body, query, path or header
    return ".".join(str(part)[:MAX_NAME_LENGTH] for part in path)


def _choose_message(fault: Mapping[str, Any]) -> str:
    message = _MESSAGES.get(fault["type"]) or str(fault["msg"]).removeprefix("Value error, ")
    return message[:MAX_MESSAGE_LENGTH]

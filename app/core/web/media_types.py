"""The media types of request bodies."""

from __future__ import annotations

from email.message import Message


def is_json(content_type: str) -> bool:
    """Return whether a `Content-Type` is one of JSON, such as `application/json` or `application/vnd.api+json`."""
    if content_type == "application/json":  # nearly always: parsing takes longer than all the rest of this function
        return True
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))

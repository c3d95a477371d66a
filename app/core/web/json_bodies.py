"""Parse the JSON of request bodies: strictly in its structure, and forgiving about a byte order mark."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Never

import orjson

from app.core.errors import BadInput, MalformedBody
from app.core.fields import describe_forbidden_character

MAX_OBJECT_MEMBERS = 1000  # of an object in a body
MAX_NAME_LENGTH = 100  # of a member's name in a message

# A fault of a request as pydantic describes it: `type`, `loc`, `msg`.
Fault = dict[str, Any]
Path = tuple[str | int, ...]

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonBody(NamedTuple):
    """The value of a JSON body.

    Attributes:
        faults: of the texts in `value` that contained lone surrogates, which have been replaced.
    """

    value: Any
    faults: Sequence[Fault] = ()


def parse_json(body: bytes) -> JsonBody:
    """Parse a body. An object must not have two members of the same name, since readers disagree which one counts.

    Raises:
        MalformedBody: the body is not JSON in UTF-8, or an object has two members of the same name.
        BadInput: an object has more than `MAX_OBJECT_MEMBERS` members.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    faults: Sequence[Fault]
    try:
        value, faults = orjson.loads(body), ()
    except orjson.JSONDecodeError as error:
        value, faults = _parse_lone_surrogates(body, error)
    # Each member has a colon, so with no other colons there are no two members of the same name.
    if body.count(b":") != _count_members(value):
        _parse_completely(body)
    return JsonBody(value, faults)


def _count_members(value: object) -> int:
    """Count the members of all objects in a JSON value.

    Raises:
        BadInput: an object has too many members. Each unknown one is a fault, and describing 100,000 of them would
            block the event loop.
    """
    count, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if len(one) > MAX_OBJECT_MEMBERS:
                raise BadInput.of_field("", f"An object in the body may have at most {MAX_OBJECT_MEMBERS} members.")
            count += len(one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return count


def _parse_completely(body: bytes) -> Any:
    """Parse with the standard library, which shows all members of objects and accepts lone surrogates.

    Raises:
        MalformedBody: an object has two members of the same name.
        ValueError, RecursionError
    """
    return json.loads(
        body.decode(), object_pairs_hook=_make_object, parse_int=_ignore, parse_float=_ignore, parse_constant=_refuse
    )


def _make_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        names = [name for name, _ in members]
        name = next(name for name in names if names.count(name) > 1)
        shown = _replace_surrogates(name[:MAX_NAME_LENGTH])
        raise MalformedBody(f"An object in the body has two members named `{shown}`. Send one of them.")
    return made


def _ignore(_number: str) -> int:
    return 0


def _refuse(_constant: str) -> Never:
    raise ValueError


def _parse_lone_surrogates(body: bytes, error: orjson.JSONDecodeError) -> tuple[Any, list[Fault]]:
    """Parse a body that orjson refuses, if lone surrogates are the reason: they are faults of single texts.

    Raises:
        MalformedBody: there is another reason.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as undecodable:
        place = undecodable.start + 1
        raise MalformedBody(f"The body is not text in UTF-8: byte {place} does not belong there.") from None
    malformed = MalformedBody(f"The body is not valid JSON: the error is at character {error.pos + 1}.")
    if not _SURROGATE_ESCAPE.search(body):
        raise malformed
    try:
        _parse_completely(body)
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise malformed from None
    faults = [
        {"type": "lone_surrogate", "loc": ("body", *path), "msg": describe_forbidden_character(found)}
        for path, found in _find_lone_surrogates(value)
    ]
    return _without_surrogates(value), faults


def _find_lone_surrogates(value: object, path: Path = ()) -> Iterator[tuple[Path, re.Match[str]]]:
    if isinstance(value, str):
        if found := _LONE_SURROGATE.search(value):
            yield path, found
    elif isinstance(value, dict):
        for name, one in value.items():
            place = (*path, _replace_surrogates(name))
            if found := _LONE_SURROGATE.search(name):
                yield place, found
            yield from _find_lone_surrogates(one, place)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _find_lone_surrogates(one, (*path, index))


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return _replace_surrogates(value)
    if isinstance(value, dict):
        return {_replace_surrogates(name): _without_surrogates(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    return value


def _replace_surrogates(text: str) -> str:
    return text.encode(errors="replace").decode()

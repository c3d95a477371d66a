"""Move repeated parts of an OpenAPI document to its `components`: errors, examples, headers, parameters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from app.core.web.openapi import HEADERS
from app.core.web.problems import PROBLEM_MEDIA_TYPE, STATUSES_BY_KIND

_NAMES_BY_STATUS = {status: kind.__name__ for kind, status in STATUSES_BY_KIND.items()}


def iterate_operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all operations, in the document's order."""
    for path in document["paths"].values():
        yield from path.values()


def share_responses(document: dict[str, Any]) -> None:
    """Replace error responses, their examples, and common headers by references to the document's components."""
    components = document["components"]
    shared = components["responses"] = _share_error_responses(iterate_operations(document))
    components["examples"] = _share_examples(shared.values())
    good = (response for operation in iterate_operations(document) for response in operation["responses"].values())
    components["headers"] = _share_headers([*good, *shared.values()])


def share_parameters(document: dict[str, Any]) -> None:
    """Replace parameters that several operations have by references to the document's components."""
    lists = [operation.get("parameters", []) for operation in iterate_operations(document)]
    uses = Counter(_serialize(parameter) for parameters in lists for parameter in parameters)
    names: dict[str, str] = {}  # by content
    shared: dict[str, Any] = {}
    for parameters in lists:
        for place, parameter in enumerate(parameters):
            content = _serialize(parameter)
            if uses[content] > 1:
                if content not in names:
                    names[content] = _find_free_name(parameter["name"], shared)
                    shared[names[content]] = parameter
                parameters[place] = {"$ref": f"#/components/parameters/{names[content]}"}
    document["components"]["parameters"] = dict(sorted(shared.items()))


def _serialize(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _share_error_responses(operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    names: dict[str, str] = {}  # by content: the same codes in another order are the same response
    shared: dict[str, Any] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            if PROBLEM_MEDIA_TYPE not in response.get("content", {}):
                continue
            content = _serialize(response | {"description": ""})
            if content not in names:
                name = names[content] = _find_free_name(_make_response_name(int(status), response), shared)
                shared[name] = response
            operation["responses"][status] = {"$ref": f"#/components/responses/{names[content]}"}
    return dict(sorted(shared.items()))


def _share_examples(responses: Iterable[dict[str, Any]]) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    for response in responses:
        examples = response["content"][PROBLEM_MEDIA_TYPE]["examples"]
        for code, example in examples.items():
            name = next((name for name, other in shared.items() if other == example), None)
            if name is None:
                name = _find_free_name(code, shared)
                shared[name] = example
            examples[code] = {"$ref": f"#/components/examples/{name}"}
    return dict(sorted(shared.items()))


def _share_headers(responses: Iterable[dict[str, Any]]) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    for response in responses:
        headers = response.get("headers", {})
        for name, header in headers.items():
            if header == HEADERS.get(name):
                shared[name] = header
                headers[name] = {"$ref": f"#/components/headers/{name}"}
    return dict(sorted(shared.items()))


def _make_response_name(status: int, response: dict[str, Any]) -> str:
    """Name a response after its code, or after its kind of error if it has several codes."""
    codes = list(response["content"][PROBLEM_MEDIA_TYPE]["examples"])
    if len(codes) > 1:
        return _NAMES_BY_STATUS[status]
    return "".join(word.capitalize() for word in codes[0].split("_"))


def _find_free_name(wanted: str, taken: Iterable[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}{number}"
    return name

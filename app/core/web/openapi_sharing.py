"""Move repeated parts of an OpenAPI document to its `components`: errors, examples, headers, parameters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.core.errors import Forbidden
from app.core.web.openapi import HEADERS, LIMIT_HEADERS
from app.core.web.problems import PROBLEM_MEDIA_TYPE, STATUSES_BY_KIND

_NAMES_BY_STATUS = {status: kind.__name__ for kind, status in STATUSES_BY_KIND.items()}
TOO_MANY = "429"
MAX_CODES_IN_NAME = 4


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
    found = [
        (operation, status, response)
        for operation in operations
        for status, response in operation["responses"].items()
        if PROBLEM_MEDIA_TYPE in response.get("content", {})
    ]
    usual = _find_usual_codes((status, response) for _, status, response in found)
    names: dict[str, str] = {}  # by content: the same codes in another order are the same response
    shared: dict[str, Any] = {}
    for operation, status, response in found:
        content = _serialize(response | {"description": ""})
        if content not in names:
            name = _make_response_name(int(status), _list_codes(response), usual[status], operation["operationId"])
            # The same codes, with the headers of a limited operation. Only such operations respond with 429.
            is_limited = status != TOO_MANY and set(LIMIT_HEADERS) <= response.get("headers", {}).keys()
            name = names[content] = _find_free_name(f"Limited{name}" if is_limited else name, shared)
            shared[name] = response
        operation["responses"][status] = {"$ref": f"#/components/responses/{names[content]}"}
    return dict(sorted(shared.items()))


def _find_usual_codes(responses: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, set[str]]:
    """Return the codes of the most frequent response of each status."""
    counts: dict[str, Counter[frozenset[str]]] = {}
    for status, response in responses:
        counts.setdefault(status, Counter())[frozenset(_list_codes(response))] += 1
    return {status: set(by_codes.most_common(1)[0][0]) for status, by_codes in counts.items()}


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


def _list_codes(response: Mapping[str, Any]) -> list[str]:
    return list(response["content"][PROBLEM_MEDIA_TYPE]["examples"])


def _make_response_name(status: int, codes: list[str], usual: set[str], operation_id: str) -> str:
    """Name a response after its codes, with the kind of error in place of those that most operations have.

    A response of many codes is named after its operation.
    """
    kind, names = _NAMES_BY_STATUS.get(status, ""), [_make_name(code) for code in codes]
    usual_name = kind if len(usual) > 1 else "".join(map(_make_name, usual))
    if set(codes) == usual:
        return usual_name
    if usual < set(codes) or (kind == Forbidden.__name__ and usual & set(codes)):
        names = [*(_make_name(code) for code in codes if code not in usual), usual_name]
    if names == [usual_name]:
        names = [_make_name(code) for code in codes]
    return "Or".join(names) if len(names) <= MAX_CODES_IN_NAME else f"{operation_id[0].upper()}{operation_id[1:]}{kind}"


def _make_name(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_"))


def _find_free_name(name: str, taken: Iterable[str]) -> str:
    """Return the name, with the first free number after it if it is taken."""
    number, free_name = 1, name
    while free_name in taken:
        number += 1
        free_name = f"{name}{number}"
    return free_name

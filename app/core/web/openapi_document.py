"""The OpenAPI document: FastAPI's document of the operations, completed and tidied up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app.core.web.declarations import find_declaration
from app.core.web.deprecation import DEPRECATED_SINCE, make_deprecation_headers
from app.core.web.error_catalogue import list_error_members
from app.core.web.openapi import HEADERS, document_declaration, document_limits
from app.core.web.openapi_events import document_events
from app.core.web.openapi_examples import add_examples
from app.core.web.openapi_sharing import iterate_operations, share_parameters, share_responses
from app.core.web.openapi_tidy import drop_null, name_enum_values, remove_titles, unwrap_descriptions
from app.core.web.paging import document_link
from app.core.web.rate_limits import find_declared_limits

# FastAPI's description of a response that declares none, and its schemas of validation errors.
FASTAPI_DESCRIPTION = "Successful Response"
FASTAPI_SCHEMAS = ("HTTPValidationError", "ValidationError")

_FIELD_ERROR_SCHEMA = {
    "type": "object",
    "description": "An invalid field of the input.",
    "required": ["field", "message"],
    "properties": {
        "field": {"type": "string", "description": "Path of the field, such as `permissions.0.resource`."},
        "message": {"type": "string", "description": "What is wrong with it."},
    },
}
_PROBLEM_MEMBERS = {
    "type": {"type": "string", "description": "A URN made of the code."},
    "title": {"type": "string", "description": "What the code means in general."},
    "status": {"type": "integer", "description": "The HTTP status."},
    "detail": {"type": "string", "description": "What is wrong this time."},
    "code": {"type": "string", "description": "Identifies the kind of error. It is stable, so compare this member."},
    "requestId": {"type": "string", "description": "The `X-Request-Id`, which is also in the logs of the service."},
}


def finalize_openapi(
    document: dict[str, Any], routes: Iterable[BaseRoute], security_schemes: Mapping[str, Any]
) -> dict[str, Any]:
    """Complete FastAPI's document with the parts that all operations share.

    It adds credentials, problem responses, examples and the events of the catalogue, names enum values, and sorts
    the paths by the document's tags.

    Equal responses and parameters are moved to `components`.

    Args:
        security_schemes: the credentials that operations require, by the names in `OperationRequirement.credentials`.
    """
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in FASTAPI_SCHEMAS:
        schemas.pop(name, None)
    components["securitySchemes"] = dict(security_schemes)
    schemas["Problem"], schemas["FieldError"] = _make_problem_schema(), _FIELD_ERROR_SCHEMA
    document_events(document)
    for operation, route in _iterate_routes(document, routes):
        _complete_operation(operation, route)
    for schema in schemas.values():
        remove_titles(schema)
    name_enum_values(document)
    unwrap_descriptions(document)
    _sort_paths(document)
    for operation in iterate_operations(document):
        add_examples(operation, schemas)
    share_responses(document)
    share_parameters(document)
    return document


def _make_problem_schema() -> dict[str, Any]:
    members = {name: {"type": "string", "description": text} for name, text in list_error_members().items()}
    field_errors = {
        "type": "array",
        "description": "The invalid fields of the input, at most 50.",
        "items": {"$ref": "#/components/schemas/FieldError"},
    }
    return {
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "required": list(_PROBLEM_MEMBERS),
        "properties": {**_PROBLEM_MEMBERS, "errors": field_errors, **members},
    }


def _iterate_routes(document: dict[str, Any], routes: Iterable[BaseRoute]) -> Iterator[tuple[dict[str, Any], APIRoute]]:
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                yield document["paths"][route.path_format][method.lower()], route


def _complete_operation(operation: dict[str, Any], route: APIRoute) -> None:
    document_declaration(operation, find_declaration(route.endpoint))
    document_link(operation, route.path_format)
    if find_declared_limits(route.endpoint):
        document_limits(operation)
    if operation.get("deprecated"):
        _document_deprecation(operation)
    for parameter in operation.get("parameters", ()):
        _tidy_parameter(parameter)
    for message in (operation.get("requestBody", {}), *operation["responses"].values()):
        for media in message.get("content", {}).values():
            remove_titles(media["schema"])
    for status, response in operation["responses"].items():
        if response["description"] == FASTAPI_DESCRIPTION:
            response["description"] = HTTPStatus(int(status)).phrase


def _document_deprecation(operation: dict[str, Any]) -> None:
    announced = make_deprecation_headers(operation[DEPRECATED_SINCE])
    documented = {name: HEADERS[name] | {"example": value} for name, value in announced.items()}
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response["headers"] = response.get("headers", {}) | documented


def _tidy_parameter(parameter: dict[str, Any]) -> None:
    """Describe the parameter once, and not as nullable: a query or a header cannot send null."""
    if parameter["name"] == "id":
        parameter.setdefault("description", "The id, as returned when the object was created or listed.")
    schema = drop_null(parameter["schema"])
    schema.pop("description", None)
    if schema.get("deprecated"):
        parameter["deprecated"] = True
    remove_titles(schema)
    parameter["schema"] = schema


def _sort_paths(document: dict[str, Any]) -> None:
    places = {tag["name"]: index for index, tag in enumerate(document["tags"])}

    def place_of_path(path: tuple[str, dict[str, Any]]) -> int:
        first_operation = next(iter(path[1].values()))
        return places[first_operation["tags"][0]]

    document["paths"] = dict(sorted(document["paths"].items(), key=place_of_path))

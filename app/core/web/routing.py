"""Routes that read requests strictly: JSON bodies, query parameters, no body where none is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_origin
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from app.core import errors
from app.core.errors import FieldError

# Of a request with one of these, a body means nothing (RFC 9110, 9.3.1).
_WITHOUT_BODY = frozenset({"GET", "HEAD"})


class JsonRequest(Request):
    """A request whose body is read strictly: no NaN, no lone surrogates, bounded nesting."""

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            json.JSONDecodeError: answered as a 422.
        """
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class Route(APIRoute):
    """A route that reads JSON strictly, and refuses query parameters and a body that it does not have."""

    def get_route_handler(self) -> Any:
        """FastAPI's handler, given the stricter request."""
        handler = super().get_route_handler()
        known = query_parameters(self)
        takes_no_body = not self.dependant.body_params and "requestBody" not in (self.openapi_extra or {})

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                refuse_unknown(request, known)
            request = JsonRequest(request.scope, request.receive)
            if takes_no_body and request.method not in _WITHOUT_BODY:
                await _refuse_body(request)
            return await handler(request)

        return handle


async def _refuse_body(request: Request) -> None:
    """Raise `BadInput` where there is anything in the body; many clients send an empty object where there is none."""
    if (await request.body()).strip() not in {b"", b"{}", b"null"}:
        fault = FieldError("", "This operation takes no body.")
        raise errors.BadInput(fault.message, errors=[fault])


def query_parameters(route: APIRoute) -> Mapping[str, bool]:
    """The query parameters of a route, those of its dependencies and models included; whether each may be repeated."""
    found: dict[str, bool] = {}
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting.extend(dependant.dependencies)
        for parameter in dependant.query_params:
            model = getattr(parameter.field_info, "annotation", None)
            inner = getattr(model, "model_fields", None)
            if inner is None:
                found[parameter.alias] = get_origin(model) is list
            else:
                found |= {field.alias or name: get_origin(field.annotation) is list for name, field in inner.items()}
    return found


def refuse_unknown(request: Request, known: Mapping[str, bool]) -> None:
    """Raise `BadInput` for query parameters that a route does not have or has only once, and for what is no text.

    Args:
        known: the route's parameters, and whether each may be repeated.
    """
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        fault = FieldError("", "The query is not valid UTF-8.")
        raise errors.BadInput(fault.message, errors=[fault]) from None
    names = [name for name, _ in request.query_params.multi_items()]
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise errors.BadInput(
            f"There is no query parameter {unknown[0][:100]!r} here.",
            errors=[FieldError(name[:100], "There is no such parameter.") for name in unknown[:50]],
        )
    repeated = sorted({name for name in names if not known[name] and names.count(name) > 1})
    if repeated:
        raise errors.BadInput(
            f"{repeated[0]} may be given once.", errors=[FieldError(name, "It may be given once.") for name in repeated]
        )

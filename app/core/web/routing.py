"""Routes that read requests strictly: JSON bodies, query parameters, and no body unless the operation takes one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from app.core import errors
from app.core.errors import FieldError
from app.core.web.endpoint_signatures import Parameter, Source, is_repeatable, read_all_parameters
from app.core.web.validation_messages import MAX_FAULTS

# The body of a request with one of these methods has no meaning (RFC 9110, 9.3.1).
METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD"})
# Many clients send an empty object if they have nothing to send.
EMPTY_BODIES = frozenset({b"", b"{}", b"null"})


class JsonRequest(Request):
    """A request whose body is parsed strictly: no NaN, no lone surrogates, bounded nesting."""

    async def json(self) -> Any:
        """Parse the body, once.

        Raises:
            json.JSONDecodeError: the body is not JSON; answered as a 422.
        """
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class Route(APIRoute):
    """A route that parses JSON strictly, and refuses undeclared query parameters and an undeclared body."""

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The parameters of the endpoint and all its dependencies."""
        return list(read_all_parameters(self.endpoint, self.param_convertors, self.dependencies))

    @cached_property
    def query_parameters(self) -> Mapping[str, bool]:
        """The names of the query parameters, with the fields of models, and whether each may be repeated."""
        found: dict[str, bool] = {}
        for parameter in self.parameters:
            if parameter.source is Source.QUERY and parameter.model:
                fields = parameter.model.model_fields.items()
                found |= {field.alias or name: is_repeatable(field.annotation) for name, field in fields}
            elif parameter.source is Source.QUERY:
                found[parameter.alias] = is_repeatable(parameter.type)
        return found

    def get_route_handler(self) -> Any:
        """Make FastAPI's handler, and give it the stricter request."""
        handler, known = super().get_route_handler(), self.query_parameters
        takes_body = any(parameter.source is Source.BODY for parameter in self.parameters)
        takes_no_body = not takes_body and "requestBody" not in (self.openapi_extra or {})

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                refuse_unknown_query(request, known)
            request = JsonRequest(request.scope, request.receive)
            if takes_no_body and request.method not in METHODS_WITHOUT_BODY:
                await _refuse_body(request)
            return await handler(request)

        return handle


async def _refuse_body(request: Request) -> None:
    """Raise `BadInput` if the body has any content."""
    if (await request.body()).strip() not in EMPTY_BODIES:
        fault = FieldError("", "This operation takes no body.")
        raise errors.BadInput(fault.message, errors=[fault])


def refuse_unknown_query(request: Request, known: Mapping[str, bool]) -> None:
    """Refuse unknown query parameters, repeated ones that may not be repeated, and text that is not UTF-8.

    Args:
        known: the names of the route's parameters, and whether each may be repeated.

    Raises:
        BadInput: `errors` names the parameters.
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
            errors=[FieldError(name[:100], "There is no such parameter.") for name in unknown[:MAX_FAULTS]],
        )
    repeated = sorted({name for name in names if not known[name] and names.count(name) > 1})
    if repeated:
        raise errors.BadInput(
            f"{repeated[0]} may be given once.", errors=[FieldError(name, "It may be given once.") for name in repeated]
        )

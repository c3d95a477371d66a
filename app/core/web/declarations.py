"""The requirements that an operation declares for its caller, as the rest of the web layer sees them."""

from __future__ import annotations

from functools import cache
from typing import Protocol, cast, runtime_checkable

from starlette.types import Scope

from app.core.errors import TesseraError
from app.core.web.endpoint_signatures import Endpoint, Source, read_parameters

# The `WWW-Authenticate` of 401 responses of operations that declare no requirement, such as signing in.
DEFAULT_CHALLENGE = 'Bearer realm="tessera"'


@runtime_checkable
class OperationRequirement(Protocol):
    """The requirements of an operation for its caller, declared by one of its dependencies."""

    permission: str | None

    @property
    def caller_label(self) -> str:
        """The required caller in two or three words, such as `signed in`."""
        ...

    @property
    def description(self) -> str:
        """The requirement, in sentences."""
        ...

    @property
    def credentials(self) -> list[dict[str, list[str]]]:
        """The `security` of the operation in OpenAPI."""
        ...

    @property
    def challenge(self) -> str:
        """The `WWW-Authenticate` (RFC 9110, 11.6.1) of the operation: the credentials that it accepts."""
        ...

    @property
    def errors(self) -> tuple[type[TesseraError], ...]:
        """The errors that it can raise."""
        ...


@cache
def find_declaration(endpoint: Endpoint) -> OperationRequirement | None:
    """Return the requirements of an operation for its caller; `None` if it needs no credentials.

    Raises:
        TypeError: it declares several.
    """
    dependencies = [one.dependency for one in read_parameters(endpoint) if one.source is Source.DEPENDENCY]
    found = [cast("OperationRequirement", one) for one in dependencies if isinstance(one, OperationRequirement)]
    if len(found) > 1:
        raise TypeError(f"{endpoint.__qualname__} declares {len(found)} requirements of its caller instead of one")
    return found[0] if found else None


def get_challenge(scope: Scope) -> str:
    """Return the `WWW-Authenticate` of a request."""
    declaration = find_declaration(scope["endpoint"]) if "endpoint" in scope else None
    return declaration.challenge if declaration is not None else DEFAULT_CHALLENGE

"""Read the signature of an endpoint: the place of each argument in a request, and its validation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Any, cast, get_args, get_origin

from fastapi import Request, Response, params
from fastapi.security import SecurityScopes
from pydantic import BaseModel, TypeAdapter
from starlette.background import BackgroundTasks
from starlette.requests import HTTPConnection

Endpoint = Callable[..., Any]


class Source(Enum):
    """The source of an argument."""

    REQUEST = auto()  # the request itself
    DEPENDENCY = auto()
    PATH = auto()
    QUERY = auto()
    BODY = auto()  # JSON, a form or a file
    OTHER = auto()  # headers, cookies, and objects of the framework, such as `BackgroundTasks`


# The first match counts, as in FastAPI.
_SOURCES_BY_MARKER: dict[type, Source] = {
    params.Depends: Source.DEPENDENCY,
    params.Path: Source.PATH,
    params.Query: Source.QUERY,
    params.Body: Source.BODY,
    params.Param: Source.OTHER,
}
_SOURCES_BY_TYPE: dict[type, Source] = {
    Request: Source.REQUEST,
    HTTPConnection: Source.OTHER,
    Response: Source.OTHER,
    BackgroundTasks: Source.OTHER,
    SecurityScopes: Source.OTHER,
    BaseModel: Source.BODY,
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of an endpoint or of a dependency.

    Attributes:
        type: its annotation without the metadata of `Annotated`.
        extras: the metadata of `Annotated` without `marker`.
        marker: the object that tells FastAPI the source: `Path(…)`, `Query(…)`, `Depends(…)` and so on.
    """

    name: str
    type: Any
    extras: tuple[Any, ...]
    marker: params.Param | params.Body | params.Depends | None
    has_default: bool
    source: Source

    @property
    def alias(self) -> str:
        """Its name in the request."""
        alias = None if isinstance(self.marker, params.Depends | None) else self.marker.alias
        return alias or self.name

    @property
    def model(self) -> type[BaseModel] | None:
        """The model of its values; `None` if they are not instances of a model."""
        return self.type if inspect.isclass(self.type) and issubclass(self.type, BaseModel) else None

    @property
    def dependency(self) -> Endpoint:
        """The callable that makes its value: the one in the marker, or else its type.

        Raises:
            TypeError: it is not a dependency.
        """
        if not isinstance(self.marker, params.Depends):
            raise TypeError(f"The parameter {self.name} is not a dependency.")
        return self.marker.dependency or cast("Endpoint", self.type)

    def make_adapter(self) -> TypeAdapter[Any]:
        """Make the validator of its values, with the constraints of its marker."""
        constraints = [] if isinstance(self.marker, params.Depends | None) else self.marker.metadata
        annotation: Any = self.type
        for extra in (*self.extras, *constraints):
            annotation = Annotated[annotation, extra]
        return TypeAdapter(annotation)


def read_parameters(endpoint: Endpoint, path_names: Iterable[str] = ()) -> list[Parameter]:
    """Read the parameters of an endpoint or a dependency, in order.

    Args:
        path_names: the names in the route's path, which need no marker.
    """
    names = set(path_names)
    signature = inspect.signature(endpoint, eval_str=True)
    return [_read(parameter, names) for parameter in signature.parameters.values()]


def read_all_parameters(
    endpoint: Endpoint, path_names: Iterable[str] = (), dependencies: Iterable[params.Depends] = ()
) -> Iterator[Parameter]:
    """Read the parameters of an endpoint, of its dependencies, of their dependencies, and so on.

    Args:
        path_names: the names in the route's path, which need no marker.
        dependencies: those that the route declares in addition to the signature of its endpoint.
    """
    names = set(path_names)
    waiting = [endpoint, *(one.dependency for one in dependencies if one.dependency)]
    while waiting:
        for parameter in read_parameters(waiting.pop(), names):
            yield parameter
            if parameter.source is Source.DEPENDENCY:
                waiting.append(parameter.dependency)


def is_repeatable(annotation: object) -> bool:
    """Return whether a query parameter of this type may be given several times."""
    return get_origin(annotation) is list


def _read(parameter: inspect.Parameter, path_names: set[str]) -> Parameter:
    annotation, extras = parameter.annotation, list[Any]()
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
    markers = [extra for extra in extras if isinstance(extra, params.Param | params.Body | params.Depends)]
    marker, default = markers[-1] if markers else None, parameter.default
    if marker is None and isinstance(default, params.Param | params.Body | params.Depends):
        marker = default
        default = inspect.Parameter.empty if _is_required(marker) else marker
    return Parameter(
        name=parameter.name,
        type=annotation,
        extras=tuple(extra for extra in extras if extra not in markers),
        marker=marker,
        has_default=default is not inspect.Parameter.empty,
        source=_find_source(annotation, marker, is_in_path=parameter.name in path_names),
    )


def _is_required(marker: params.Param | params.Body | params.Depends) -> bool:
    return isinstance(marker, params.Depends) or marker.is_required()


def _find_source(annotation: Any, marker: object, *, is_in_path: bool) -> Source:
    for kind, source in _SOURCES_BY_MARKER.items():
        if isinstance(marker, kind):
            return source
    if is_in_path:
        return Source.PATH
    for kind, source in _SOURCES_BY_TYPE.items():
        # The annotation of an optional body is a union with `None`.
        if any(inspect.isclass(part) and issubclass(part, kind) for part in (annotation, *get_args(annotation))):
            return source
    return Source.QUERY

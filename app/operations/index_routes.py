"""The index of the API: browsers are sent to the documentation, and clients get links."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app import __version__
from app.core.web.openapi import HEADERS, responses
from app.core.web.routing import Route
from app.operations.schemas import ApiIndex

DOCS = "/docs"
HTML, JSON = "text/html", "application/json"

router = APIRouter(tags=["Operations"], route_class=Route)

VARY = {"Vary": "Accept"}  # so that no cache gives the links to a browser, or the redirect to a client

_REDIRECT = {
    "description": "Redirect to the documentation, because the client prefers HTML.",
    "headers": {"Location": HEADERS["Location"] | {"example": DOCS}},
}


@router.get(
    "/",
    operation_id="getIndex",
    summary="Get the links of the API",
    response_model=ApiIndex,
    responses=responses() | {307: _REDIRECT},
)
async def get_index(request: Request, response: Response) -> ApiIndex | Response:
    """Return the version and the addresses of the documentation and the health checks.

    A browser, or any client whose `Accept` prefers HTML to JSON, is redirected to the documentation.
    """
    root = request.scope.get("root_path", "")
    accept = request.headers.get("accept", "*/*")
    if read_quality(accept, HTML) > read_quality(accept, JSON):
        return RedirectResponse(f"{root}{DOCS}", headers=VARY)
    response.headers.update(VARY)
    return ApiIndex(
        name="Tessera",
        version=__version__,
        docs=f"{root}{DOCS}",
        redoc=f"{root}/redoc",
        openapi=f"{root}/openapi.json",
        live=f"{root}/health/live",
        ready=f"{root}/health/ready",
    )


def read_quality(accept: str, media_type: str) -> float:
    """Read the quality value of a media type from an `Accept` header, from 0 to 1 (RFC 9110, 12.4.2 and 12.5.1)."""
    ranges = {f"{media_type.partition('/')[0]}/*", "*/*", media_type}
    found: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        if name in ranges:
            found[name] = next((_parse_number(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    specific_first = sorted(found, key=lambda name: (name != media_type, name == "*/*"))
    return found[specific_first[0]] if found else 0.0


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0

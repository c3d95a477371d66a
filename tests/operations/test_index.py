"""The index: browsers are redirected to the documentation, and clients get valid links."""

from __future__ import annotations

import pytest

from app import __version__
from app.operations.index_routes import read_quality
from tests.organisation_client import Api

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


async def test_a_browser_is_redirected_to_the_documentation(api: Api) -> None:
    answer = await api.http.get("/", headers={"Accept": BROWSER})

    assert (answer.status_code, answer.headers["location"], answer.headers["vary"]) == (307, "/docs", "Accept, Origin")
    assert (await api.http.get("/", headers={"Accept": BROWSER}, follow_redirects=True)).status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/plain, */*", "text/csv", ""])
async def test_a_client_gets_links_that_work(api: Api, accept: str) -> None:
    answer = await api.http.get("/", headers={"Accept": accept})

    index = answer.json()
    assert answer.headers["vary"] == "Accept, Origin"
    assert (answer.status_code, index.pop("name"), index.pop("version")) == (200, "Tessera", __version__)
    assert set(index) == {"docs", "redoc", "openapi", "live", "ready"}
    for path in index.values():
        assert (await api.http.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("accept", "html", "json"),
    [
        (BROWSER, 1.0, 0.8),
        ("*/*", 1.0, 1.0),
        ("text/*;q=0.5, application/json", 0.5, 1.0),
        ("text/html;q=0.1, */*", 0.1, 1.0),
        ("*/*, text/html;q=0.1", 0.1, 1.0),
        ("TEXT/HTML; level=1; q=0.7", 0.7, 0.0),
        ("text/html;q=x", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_the_most_specific_range_of_an_accept_header_counts(accept: str, html: float, json: float) -> None:
    assert (read_quality(accept, "text/html"), read_quality(accept, "application/json")) == (html, json)

"""Cross-origin requests of a page in a browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from tests.browser import browser
from tests.conftest import settings_for
from tests.http_server import running_server
from tests.organisation_client import PASSWORD
from tests.postgres import TestServer

if TYPE_CHECKING:
    from playwright.async_api import Browser

__all__ = ["browser"]

CALLS = """async ([api, email, password]) => {
    const call = async (method, path, body, token) => {
        const headers = {"Content-Type": "application/json", ...(token && {Authorization: `Bearer ${token}`})};
        const response = await fetch(api + path, {method, headers, body: body && JSON.stringify(body)});
        const names = ["ETag", "Link", "Location", "RateLimit", "Retry-After", "X-Request-Id"];
        const seen = Object.fromEntries(names.map((name) => [name, response.headers.get(name)]));
        return {status: response.status, body: await response.json(), seen};
    };
    try {
        const signedIn = await call("POST", "/auth/signin", {email, password});
        const token = signedIn.body.accessToken;
        const opened = [];
        for (const title of ["First", "Second"]) {
            opened.push(await call("POST", "/tickets", {title, description: "All of it."}, token));
        }
        const list = await call("GET", "/tickets?limit=1", undefined, token);
        const refusals = [];
        for (let attempt = 0; attempt < 3; attempt++) {
            refusals.push(await call("POST", "/auth/signin", {email, password: "wrong"}));
        }
        return {signedIn, opened, list, refused: refusals[2]};
    } catch (error) {
        return {error: String(error)};
    }
}"""


class Page(BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Desk</title>")

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing."""


@pytest.fixture
def page_port() -> Iterator[int]:
    """Serve the page; yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as pages:
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        yield pages.server_address[1]
        pages.shutdown()
        thread.join()


@pytest.fixture
async def address(server: TestServer) -> AsyncIterator[str]:
    """Serve the API; yield the address."""
    running = running_server(settings_for(server, sign_in_failure_limit="2/5 minutes"))
    yield await asyncio.to_thread(running.__enter__)
    await asyncio.to_thread(running.__exit__, None, None, None)


async def call_from(browser: Browser, origin: str, address: str, email: str) -> dict[str, Any]:
    page = await browser.new_page()
    try:
        await page.goto(origin)
        result: dict[str, Any] = await page.evaluate(CALLS, [address, email, PASSWORD])
    finally:
        await page.close()
    return result


async def test_a_page_of_an_allowed_origin_works_with_the_api_in_a_browser(
    browser: Browser, address: str, page_port: int
) -> None:
    origin, domain = f"http://localhost:{page_port}", f"{uuid4().hex}.example"
    async with httpx.AsyncClient(base_url=address) as http:
        secret = (await http.post("/auth/org/signup", json={"name": "Growfin", "domain": domain})).json()["secret"]
        user = {"firstName": "Ada", "email": f"ada@{domain}", "password": PASSWORD}
        await http.post("/auth/admin/signup", json={**user, "secret": secret})
        token = (await http.post("/auth/signin", json={"email": user["email"], "password": PASSWORD})).json()["jwt"]
        headers = {"Authorization": f"Bearer {token}"}
        await http.patch("/org", json={"allowedOrigins": [origin]}, headers=headers)

    unlisted = await call_from(browser, f"http://127.0.0.1:{page_port}", address, user["email"])
    listed = await call_from(browser, origin, address, user["email"])

    assert unlisted == {"error": "TypeError: Failed to fetch"}
    assert listed["signedIn"]["status"] == 200
    assert listed["signedIn"]["seen"]["RateLimit"]
    assert [one["status"] for one in listed["opened"]] == [201, 201]
    ticket = listed["opened"][1]
    assert (ticket["seen"]["ETag"], ticket["seen"]["Location"]) == ('"1"', f"/tickets/{ticket['body']['id']}")
    assert ticket["seen"]["X-Request-Id"]
    assert [one["title"] for one in listed["list"]["body"]["items"]] == ["Second"]
    assert 'rel="next"' in listed["list"]["seen"]["Link"]
    assert listed["refused"]["status"] == 429
    assert int(listed["refused"]["seen"]["Retry-After"]) > 0
    assert "r=0" in listed["refused"]["seen"]["RateLimit"]

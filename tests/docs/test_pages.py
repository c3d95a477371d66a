"""The pages `/docs` and `/redoc`, in a real browser that can reach only the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from app import __version__
from app.core.fields import EXAMPLE_ID
from tests.conftest import copy_database, settings_for
from tests.docs.openapi import OPERATIONS
from tests.docs.visits import Visit
from tests.http_server import running_server
from tests.postgres import TestServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, ViewportSize


SCREEN: ViewportSize = {"width": 1280, "height": 720}
MAX_OPERATION_HEIGHT = 1500  # pixels
LONG_OPERATIONS = [
    ("GET", "/tickets"), ("POST", "/tickets"), ("PATCH", "/tickets/{id}"), ("GET", "/users"), ("PATCH", "/users/{id}"),
    ("POST", "/auth/signin"), ("GET", "/auth/oidc/{provider}/callback"),
]  # fmt: skip


@pytest.fixture(scope="module")
async def address(server: TestServer) -> AsyncIterator[str]:
    """Serve an empty database; return the address."""
    name = f"pages_{uuid4().hex[:8]}"
    await copy_database(server, name)
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, running_server(settings_for(server.at(name))))
        await asyncio.to_thread(stack.close)


class DocsVisit(Visit):
    """A visit to Swagger UI."""

    async def operation(self, method: str, path: str) -> Operation:
        shown = self.page.locator(f".opblock-{method.lower()}").filter(
            has=self.page.locator(f'.opblock-summary-path[data-path="{path}"]')
        )
        if not await shown.locator(".opblock-body").count():
            await shown.locator(".opblock-summary-control").click()
        return Operation(shown)

    async def authorize(self, **credentials: str) -> None:
        await self.page.locator(".scheme-container .btn.authorize").click()
        dialog = self.page.locator(".modal-ux")
        assert await dialog.locator(".auth-container").count() == 2
        for name, value in credentials.items():
            one = dialog.locator(".auth-container").filter(has=self.page.get_by_text(name, exact=True))
            await one.locator("input").fill(value)
            await one.locator("button.authorize").click()
        await dialog.locator(".close-modal").click()


class Operation:
    """An operation that is tried out in Swagger UI."""

    def __init__(self, shown: Locator) -> None:
        self.shown = shown

    async def field(self, name: str) -> str:
        """Return the content of a path parameter's field."""
        return await self.shown.locator(f'tr[data-param-name="{name}"] input').input_value()

    async def execute(self, **fields: str) -> tuple[int, Any]:
        """Press Execute with the examples and these path parameters; return the status and the body."""
        for name, value in fields.items():
            await self.shown.locator(f'tr[data-param-name="{name}"] input').fill(value)
        async with self.shown.page.expect_response(lambda got: got.request.resource_type == "fetch") as answered:
            await self.shown.locator("button.execute").click()
        answer = await answered.value
        status = self.shown.locator(".live-responses-table .response-col_status").last
        await status.get_by_text(str(answer.status)).wait_for()
        return answer.status, await answer.json()


@pytest.fixture
async def visit(browser: Browser, address: str) -> AsyncIterator[DocsVisit]:
    page = await browser.new_page()
    visit = DocsVisit(page, address)
    await visit.start()
    yield visit
    await page.close()
    assert visit.foreign_requests == []
    assert visit.errors == []


async def test_docs_show_every_operation_without_the_internet(visit: DocsVisit) -> None:
    await visit.page.goto(f"{visit.address}/docs")
    await visit.page.locator(".opblock").last.wait_for()

    shown = {
        (
            await one.locator(".opblock-summary-method").inner_text(),
            await one.locator("[data-path]").get_attribute("data-path"),
        )
        for one in await visit.page.locator(".opblock").all()
    }

    assert shown == {operation.key for operation in OPERATIONS}


async def test_the_first_screen_of_docs_shows_how_to_start(visit: DocsVisit) -> None:
    await visit.page.set_viewport_size(SCREEN)
    await visit.page.goto(f"{visit.address}/docs")
    await visit.page.locator(".opblock").last.wait_for()

    first = visit.page.locator(".opblock").first
    assert await first.locator("[data-path]").get_attribute("data-path") == "/tickets"
    for shown in (visit.page.locator(".scheme-container .btn.authorize"), first):
        assert await bottom(shown) < SCREEN["height"]
    headings = visit.page.locator(".info h2, .info h3")
    assert {"Start here", "Guide", "Errors", "Error codes"} <= set(await headings.all_text_contents())
    assert await visit.page.get_by_text("Start here").is_visible()
    assert not await visit.page.get_by_text("Error codes", exact=True).is_visible()


async def test_the_guide_of_docs_opens_with_all_error_codes(visit: DocsVisit) -> None:
    await visit.page.goto(f"{visit.address}/docs")
    await visit.page.locator(".info summary").click()

    row = visit.page.locator(".info tr", has=visit.page.get_by_text("ticket_not_found", exact=True))
    assert await row.is_visible()
    assert await row.locator("td").nth(1).inner_text() == "404"


async def test_docs_list_schemas_collapsed(visit: DocsVisit) -> None:
    await visit.page.goto(f"{visit.address}/docs")
    await visit.page.locator("section.models").wait_for()

    assert await visit.page.locator("section.models.is-open").count() == 0


async def test_an_opened_operation_of_docs_fits_on_a_page(visit: DocsVisit) -> None:
    await visit.page.set_viewport_size(SCREEN)
    await visit.page.goto(f"{visit.address}/docs")
    heights = {}

    for key in LONG_OPERATIONS:
        operation = await visit.operation(*key)
        await operation.shown.locator(".response").last.wait_for()
        box = await operation.shown.bounding_box()
        assert box is not None
        heights[key] = box["height"]

    assert {key: height for key, height in heights.items() if height >= MAX_OPERATION_HEIGHT} == {}


async def bottom(shown: Locator) -> float:
    box = await shown.bounding_box()
    assert box is not None
    return box["y"] + box["height"]


async def test_docs_show_examples_of_path_parameters(visit: DocsVisit) -> None:
    await visit.page.goto(f"{visit.address}/docs")

    assert await (await visit.operation("GET", "/users/{id}")).field("id") == EXAMPLE_ID
    assert await (await visit.operation("GET", "/auth/oidc/{provider}/start")).field("provider") == "google"


async def test_redoc_shows_every_operation_without_the_internet(visit: DocsVisit) -> None:
    await visit.page.goto(f"{visit.address}/redoc")
    for operation in OPERATIONS:
        tag = operation.definition["tags"][0].replace(" ", "-")
        shown = visit.page.locator(f'[id="tag/{tag}/operation/{operation.id}"]')
        await shown.wait_for(state="attached")

    assert await visit.page.locator("h1").first.inner_text() == f"Tessera ({__version__})"


async def test_the_first_steps_work_in_docs_with_the_unchanged_examples(visit: DocsVisit) -> None:
    await visit.page.goto(f"{visit.address}/docs")

    status, organisation = await (await visit.operation("POST", "/auth/org/signup")).execute()
    assert status == 201
    await visit.authorize(organisationSecret=organisation["secret"])
    status, _ = await (await visit.operation("POST", "/auth/admin/signup")).execute()
    assert status == 201
    status, session = await (await visit.operation("POST", "/auth/admin/signin")).execute()
    assert status == 200
    await visit.authorize(jwt=session["jwt"])

    status, ticket = await (await visit.operation("POST", "/tickets")).execute()
    assert (status, ticket["adminId"]) == (201, session["user"]["id"])
    status, read = await (await visit.operation("GET", "/tickets/{id}")).execute(id=ticket["id"])
    assert (status, read["title"]) == (200, ticket["title"])
    status, listed = await (await visit.operation("GET", "/tickets")).execute()
    assert (status, [one["id"] for one in listed["items"]]) == (200, [ticket["id"]])
    status, answer = await (await visit.operation("POST", "/tickets/{id}/respond")).execute(id=ticket["id"])
    assert (status, answer["ticket"]["status"]) == (201, "RESPONDED")

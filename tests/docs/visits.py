"""A visit of a page in a browser that can reach only the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Page

TIMEOUT_MS = 20_000  # milliseconds


class Visit:
    """A page, with its requests to other servers and its errors."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.foreign_requests: list[str] = []
        self.errors: list[str] = []

    async def start(self) -> None:
        await self.page.route("**/*", self._let_through)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", self._note_failure)
        self.page.set_default_timeout(TIMEOUT_MS)

    def _note_failure(self, request: Any) -> None:
        # The browser does not send requests that the page's content security policy forbids.
        if request.failure != "csp":
            self.errors.append(f"{request.url}: {request.failure}")

    async def _let_through(self, route: Any) -> None:
        if route.request.url.startswith((f"{self.address}/", "data:", "blob:")):
            await route.continue_()
        else:
            self.foreign_requests.append(route.request.url)
            await route.abort()

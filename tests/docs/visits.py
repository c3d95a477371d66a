"""A page in a browser that reaches nothing but the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Page

PATIENCE = 20_000  # milliseconds


class Visit:
    """A page, with what it asked of others and what went wrong on it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.strangers: list[str] = []
        self.errors: list[str] = []

    async def start(self) -> None:
        await self.page.route("**/*", self._let_through)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", self._note_failure)
        self.page.set_default_timeout(PATIENCE)

    def _note_failure(self, request: Any) -> None:
        # What a page's own policy forbids never leaves the browser.
        if request.failure != "csp":
            self.errors.append(f"{request.url}: {request.failure}")

    async def _let_through(self, route: Any) -> None:
        if route.request.url.startswith((f"{self.address}/", "data:", "blob:")):
            await route.continue_()
        else:
            self.strangers.append(route.request.url)
            await route.abort()

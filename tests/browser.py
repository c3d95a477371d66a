"""The browser for tests of pages: import the fixture where it is used."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from playwright.async_api import Browser

BROWSER = shutil.which("chromium")
SKIP_REASON = "needs a browser: apt-get install chromium"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    if BROWSER is None:
        if os.environ.get("TESSERA_CI"):
            pytest.fail(SKIP_REASON)
        pytest.skip(SKIP_REASON)
    async with async_playwright() as playwright:
        # The browser's sandbox does not work for root, the usual user in a container.
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        async with await playwright.chromium.launch(executable_path=BROWSER, args=flags) as running:
            yield running

"""Answers whose time tells nothing."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def in_whole_steps(seconds: float) -> AsyncIterator[None]:
    """Let a block take a whole multiple of so many seconds, at least one, so that its work cannot be told by its time.

    What it raises comes at once.
    """
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    await asyncio.sleep(math.ceil(took / seconds) * seconds - took)

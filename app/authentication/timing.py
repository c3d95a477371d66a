"""Hide how long an operation takes, where its duration would reveal something."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.request_turns import give_back_current_turn


@asynccontextmanager
async def round_up_duration(step: float) -> AsyncIterator[None]:
    """Extend the duration of a block to the next multiple of `step` seconds. An exception is not delayed.

    The request gives its turn back: no query may follow the block.
    """
    started_at = time.monotonic()
    yield
    give_back_current_turn()
    elapsed = time.monotonic() - started_at
    await asyncio.sleep(math.ceil(elapsed / step) * step - elapsed)

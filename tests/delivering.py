"""Send due deliveries in a test, as the worker does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from app.core.database.pool import Database
from app.core.outbox.channels import Channels
from app.core.outbox.delivery_loop import RENEWAL_INTERVAL, DeliveryLoop

POLL_INTERVAL = 0.05  # seconds


async def deliver_due(
    database: Database, channels: Channels, is_stopping: Callable[[], bool] = lambda: False, *, patience: float = 30
) -> int:
    """Send due deliveries until none is due or running; return the number of claims.

    Args:
        is_stopping: whether to stop before that, as a worker does that is shut down.
        patience: the seconds that deliveries have to finish when stopping.
    """
    woken = asyncio.Event()
    loop = DeliveryLoop(database, channels, woken.set)
    total = 0
    try:
        while not is_stopping():
            try:
                claimed = await loop.run()
            except Exception:
                if loop.is_idle:
                    raise
                claimed = 0  # the worker would also try again
            total += claimed
            if not claimed and loop.is_idle:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), POLL_INTERVAL)
            woken.clear()
    except asyncio.CancelledError:
        patience = 0
        raise
    finally:
        await loop.stop(patience)
    return total


@asynccontextmanager
async def running_deliveries(
    database: Database, channels: Channels, *, renewal_interval: float = RENEWAL_INTERVAL
) -> AsyncIterator[None]:
    """Send due deliveries in the background during the context, and cut off at its end what is not sent."""
    loop = DeliveryLoop(database, channels, lambda: None, renewal_interval=renewal_interval)

    async def run() -> None:
        while True:
            await loop.run()
            await asyncio.sleep(POLL_INTERVAL)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await loop.stop(0)

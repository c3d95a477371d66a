"""Requests that take turns."""

from __future__ import annotations

import asyncio
from typing import Any

from app.core.request_turns import Turn
from app.core.turns import ProcessTurns, RequestTurns


def make_turns(**changes: Any) -> RequestTurns:
    return RequestTurns(**{"total": 4, "share": 2, "queue_size": 10, "timeout": 5.0, **changes})


async def take(turns: RequestTurns, key: str) -> Turn:
    """Take a turn, waiting if necessary."""
    turn = Turn(ProcessTurns(turns, turns, turns), lambda: False)
    if waiting := turn.take(turns, key):
        await waiting
    return turn


async def settle() -> None:
    """Let everything run that is ready."""
    for _ in range(5):
        await asyncio.sleep(0)


class Requests:
    """Requests that note when they get their turn, and end when told to."""

    def __init__(self, turns: RequestTurns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self.open: dict[str, Turn] = {}

    def start(self, name: str) -> asyncio.Task[None]:
        """Start a request of the organisation with the first letter of the name."""
        return asyncio.create_task(self._run(name))

    async def _run(self, name: str) -> None:
        turn = await take(self.turns, name[0])
        self.served.append(name)
        self.open[name] = turn

    async def end(self, name: str) -> None:
        self.open.pop(name).give_back()
        await settle()

"""The turn of one request: take it, and give it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, MutableMapping
from contextvars import ContextVar
from typing import Any

from app.core.turns import ProcessTurns, Queue, RequestTurns

TURN = "tessera.turn"  # in the request's scope


class Turn:
    """The turn of one request: not taken yet, taken, or given back. It ends exactly once.

    Args:
        is_gone: whether the client has disconnected.
    """

    __slots__ = ("_is_gone", "_queue", "_turns", "all")

    def __init__(self, turns: ProcessTurns, is_gone: Callable[[], bool]) -> None:
        self.all, self._is_gone = turns, is_gone
        self._queue: Queue | None = None

    def take(self, turns: RequestTurns, key: Hashable) -> Awaitable[None] | None:
        """Take the turn: return `None` if that is done, or an awaitable that waits for it.

        A request that has a turn keeps it.

        Args:
            turns: one of those in `all`.

        Raises:
            Overloaded: too many requests with this key are waiting.
        """
        if self._queue is None:
            self._turns = turns
            queue = turns.take(key, self._is_gone)
            if isinstance(queue, Queue):
                self._queue = queue
            else:
                return self._wait(queue)
        return None

    async def _wait(self, queue: Awaitable[Queue]) -> None:
        self._queue = await queue

    def give_back(self) -> None:
        """End the turn, if the request has one."""
        if self._queue is not None:
            self._turns.end(self._queue)
            self._queue = None


_stranger: ContextVar[Turn | None] = ContextVar("stranger", default=None)


async def take_turn_as_stranger(scope: MutableMapping[str, Any], network: str) -> None:
    """Take the turn of a request without a known caller, which `give_back_as_stranger` can give back.

    Args:
        network: that the request comes from.

    Raises:
        Overloaded: too many of these requests are waiting.
    """
    turn: Turn | None = scope.get(TURN)
    if turn is not None:
        _stranger.set(turn)
        if waiting := turn.take(turn.all.strangers, network):
            await waiting


def give_back_as_stranger() -> None:
    """End the turn of the current request if its caller is not known.

    Hashing passwords has bounds of its own, which hold for what follows it, too. With a turn, a few sign-ins would keep
    all other strangers waiting.
    """
    if (turn := _stranger.get()) is not None:
        turn.give_back()

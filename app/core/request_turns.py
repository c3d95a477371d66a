"""The turn of one request: take it, give it back while the request waits for something else, and end it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar

from app.core.turns import ProcessTurns, Queue, RequestTurns

TURN = "tessera.turn"  # in the request's scope


class Turn:
    """The turn of one request: not taken yet, taken, given back for a while, or ended. No turn is given back twice.

    Args:
        is_gone: whether the client has disconnected.
    """

    __slots__ = ("_has_ended", "_is_gone", "_key", "_queue", "_suspensions", "_turns", "all")

    def __init__(self, turns: ProcessTurns, is_gone: Callable[[], bool]) -> None:
        self.all, self._is_gone = turns, is_gone
        self._queue: Queue | None = None
        self._suspensions = 0
        self._has_ended = False

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

    async def _wait(self, waiting: Awaitable[Queue]) -> None:
        queue = await waiting
        if self._has_ended:  # meanwhile, in another task of the request
            self._turns.end(queue)
        else:
            self._queue = queue

    def give_back(self) -> None:
        """Give the turn back, if the request has one. It can take another."""
        if self._queue is not None:
            self._turns.end(self._queue)
            self._queue = None

    def end(self) -> None:
        """Give the turn back for good: the request does not resume it."""
        self._has_ended = True
        self.give_back()

    @asynccontextmanager
    async def suspend(self) -> AsyncIterator[None]:
        """Give the turn back during the block, and take it again afterwards, with the same key.

        If blocks overlap, because tasks of the request run at the same time, the last one takes the turn again. After
        an exception the request goes on without a turn, because usually only its response follows.

        Raises:
            Overloaded: the request has waited too long for its turn.
            CallerGone: the client has disconnected meanwhile.
        """
        if self._queue is not None:
            self._key = self._queue.key
        elif not self._suspensions:  # there is nothing to give back
            yield
            return
        self._suspensions += 1
        self.give_back()
        try:
            yield
        finally:
            self._suspensions -= 1
        if not (self._suspensions or self._has_ended):
            queue = self._turns.take(self._key, self._is_gone, is_again=True)
            if isinstance(queue, Queue):
                self._queue = queue
            else:
                await self._wait(queue)


# Set by the edge, for code that waits for something else than the database and knows no request.
current_turn: ContextVar[Turn | None] = ContextVar("current_turn", default=None)


@asynccontextmanager
async def suspended_turn() -> AsyncIterator[None]:
    """Give the turn of the current request back during the block, and take it again afterwards.

    What waits in the block must have bounds of its own. With a turn, a few requests that compute hashes or wait for
    another service would keep all others of their group waiting. No transaction may be open: it would keep its
    connection while the request waits for its turn.

    Raises:
        Overloaded, CallerGone: see `Turn.suspend`.
    """
    turn = current_turn.get()
    if turn is None:
        yield
    else:
        async with turn.suspend():
            yield


def give_back_current_turn() -> None:
    """Give the turn of the current request back, because nothing but its response follows."""
    if (turn := current_turn.get()) is not None:
        turn.give_back()

"""The limits that a request was counted in: see `rate_limits.py`.

Its response announces their states. If the request fails because of the service, its attempts are refunded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class LimitState:
    """The attempts that are left in a limit.

    Args:
        name: of the limit, which is part of the API.
        amount: the attempts allowed within `window` seconds.
        reset: seconds until all attempts are back.
    """

    name: str
    amount: int
    window: int
    remaining: int
    reset: int


# Takes back an attempt, by the rate and the key that it was counted with.
Refunds = dict[tuple[str, ...], Callable[[], Awaitable[None]]]

_refunds: ContextVar[Refunds | None] = ContextVar("refunds", default=None)
_states: ContextVar[dict[str, LimitState] | None] = ContextVar("limit_states", default=None)


def announce_limit(state: LimitState) -> None:
    """Announce a limit in the response to the current request, in place of its earlier state."""
    states = _states.get()
    if states is not None:
        states[state.name] = state


def note_attempt(counted: tuple[str, ...], refund: Callable[[], Awaitable[None]]) -> None:
    """Note that the current request was counted."""
    refunds = _refunds.get()
    if refunds is not None:
        refunds[counted] = refund


def note_refund(counted: tuple[str, ...]) -> None:
    """Note that an attempt of the current request was taken back."""
    refunds = _refunds.get()
    if refunds is not None:
        refunds.pop(counted, None)


@contextmanager
def collecting_attempts() -> Iterator[Refunds]:
    """Collect the attempts that are counted in the block and not taken back."""
    refunds: Refunds = {}
    token = _refunds.set(refunds)
    try:
        yield refunds
    finally:
        _refunds.reset(token)


@contextmanager
def collecting_limits() -> Iterator[dict[str, LimitState]]:
    """Collect the limits that are announced in the block, by name."""
    states: dict[str, LimitState] = {}
    token = _states.set(states)
    try:
        yield states
    finally:
        _states.reset(token)


def make_limit_headers(states: Iterable[LimitState]) -> dict[str, str]:
    """Make the headers. The limit with the fewest attempts left comes first."""
    ordered = sorted(states, key=lambda state: state.remaining)
    if not ordered:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{one.name}";q={one.amount};w={one.window}' for one in ordered),
        "RateLimit": ", ".join(f'"{one.name}";r={one.remaining};t={one.reset}' for one in ordered),
    }

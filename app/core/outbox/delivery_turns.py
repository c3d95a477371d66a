"""Decide from which organisations more deliveries are claimed, and how many. Knows no database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

DELIVERIES_PER_BATCH = 100
MAX_WAITING = 200  # claimed deliveries that could start at once, of all organisations
# After a claim that found nothing, since the organisation's due deliveries are all in full lanes, or locked.
PAUSE = 0.5  # seconds


@dataclass(frozen=True)
class _Turn:
    at: float
    limit: int
    claimed: int


class DeliveryTurns:
    """The turns of the organisations with due deliveries."""

    def __init__(self) -> None:
        """Start without organisations."""
        self.batch = DELIVERIES_PER_BATCH
        self._last: dict[UUID, _Turn] = {}

    def plan(self, organisations: Sequence[UUID], ready: Mapping[UUID, int]) -> list[UUID]:
        """Return the organisations of which a batch is to be claimed, in order.

        Args:
            organisations: those with due deliveries.
            ready: the number of claimed deliveries of each that could start.
        """
        # With many organisations, small batches: otherwise each would wait until those of all others are sent.
        self.batch = min(DELIVERIES_PER_BATCH, max(1, MAX_WAITING // max(1, len(organisations))))
        self._last = {org_id: self._last[org_id] for org_id in organisations if org_id in self._last}
        now = time.monotonic()

        def is_next(org_id: UUID) -> bool:
            last = self._last.get(org_id)
            is_pausing = last is not None and last.claimed == 0 and now - last.at < PAUSE
            return ready.get(org_id, 0) <= self.batch and not is_pausing

        def find_rank(org_id: UUID) -> tuple[int, float]:
            last = self._last.get(org_id)
            return ready.get(org_id, 0), last.at if last else 0.0

        return sorted(filter(is_next, organisations), key=find_rank)

    def note(self, org_id: UUID, *, limit: int, claimed: int) -> None:
        """Note how many deliveries were claimed, of at most `limit`."""
        self._last[org_id] = _Turn(time.monotonic(), limit, claimed)

    def needs_more(self, org_id: UUID, ready: int) -> bool:
        """Return whether few of the organisation's deliveries are ready, and it probably has more."""
        last = self._last.get(org_id)
        return last is not None and last.claimed == last.limit and ready <= self.batch

"""Decide which of a channel's claimed deliveries starts next. Knows no database and no network.

Urgent deliveries start first. Otherwise organisations take turns, one delivery each. A delivery that takes longer than
`HANG_AFTER` hangs, and these rules keep what hangs from delaying the rest, where N is `max_in_flight`:

- A lane has one delivery in flight until one has been sent. It is then *proved* for a while: it has its full share.
- A lane starts nothing while one of its deliveries hangs.
- If that one fails, the lane is *failing* for a while: it has one delivery in flight at a time, and all failing lanes
  together have N/2 that do not hang, and 2 N in all.
- An organisation with N lanes that hang starts only deliveries of proved lanes, one each; with 2 N lanes, none.
- Deliveries that hang are replaced: up to `MAX_REPLACED` N of them do not count.
- Urgent deliveries have one more place if none of them is in flight. So have the others, and proved
  lanes while any hangs.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from uuid import UUID

from app.core.outbox.channels import ChannelPolicy, Outcome, Result
from app.core.outbox.delivery_claims import Claim, Lane

HANG_AFTER = 0.6  # seconds
FAILING_PERIOD = 600.0  # seconds after the last failure
PROVED_PERIOD = 600.0  # seconds after the last success
MAX_PROVED_LANES = 10_000  # that are remembered
# A delivery that hangs costs little more than its connection. Thus many may, before they delay others.
MAX_REPLACED = 4  # times `max_in_flight`


@dataclass(frozen=True)
class _Running:
    claim: Claim
    started_at: float


class Lanes:
    """The deliveries of a channel that this worker has claimed: waiting and running."""

    def __init__(self, policy: ChannelPolicy) -> None:
        """Start without deliveries."""
        self._policy = policy
        # By urgency, then by organisation; the organisation whose turn is next comes first.
        self._waiting: dict[bool, dict[UUID, deque[Claim]]] = {True: {}, False: {}}
        self._running: dict[UUID, _Running] = {}
        self._failing: dict[Lane, float] = {}  # until when
        self._proved: dict[Lane, float] = {}  # until when; the earliest comes first

    def add(self, claims: Iterable[Claim]) -> None:
        """Add claimed deliveries. An organisation that has none waiting takes the last turn."""
        for claim in claims:
            self._waiting[claim.lane.urgent].setdefault(claim.org_id, deque()).append(claim)

    def start_next(self) -> Claim | None:
        """Start the next delivery; return `None` if none may start at present."""
        load = self._measure()
        for urgent, organisations in self._waiting.items():
            if not load.has_place(urgent=urgent):
                continue
            for org_id, claims in organisations.items():
                claim = next((one for one in claims if load.admits(one)), None)
                if claim is not None:
                    claims.remove(claim)
                    del organisations[org_id]
                    if claims:
                        organisations[org_id] = claims
                    self._running[claim.id] = _Running(claim, time.monotonic())
                    return claim
        return None

    def finish(self, claim: Claim, outcome: Outcome | None) -> None:
        """Remove a running delivery. Without an outcome, it was cancelled."""
        started_at = self._running.pop(claim.id).started_at
        hung = time.monotonic() - started_at > HANG_AFTER
        if outcome is not None and outcome.result is Result.TEMPORARY and hung:
            self._failing[claim.lane] = time.monotonic() + FAILING_PERIOD
            self._proved.pop(claim.lane, None)
            return
        self._failing.pop(claim.lane, None)
        if outcome is not None and outcome.result is Result.SENT:
            self._note_success(claim.lane)

    def _note_success(self, lane: Lane) -> None:
        self._proved.pop(lane, None)
        self._proved[lane] = time.monotonic() + PROVED_PERIOD
        if len(self._proved) > MAX_PROVED_LANES:
            del self._proved[next(iter(self._proved))]

    def take_waiting(self) -> list[Claim]:
        """Remove and return the deliveries that have not started."""
        return self._take(list(self._iterate_waiting()))

    def take_blocked(self) -> list[Claim]:
        """Remove and return the deliveries that have not started, and will not soon, because their lane is slow."""
        slow = self._measure().slow_lanes
        return self._take([claim for claim in self._iterate_waiting() if claim.lane in slow])

    def _take(self, claims: list[Claim]) -> list[Claim]:
        for claim in claims:
            organisations = self._waiting[claim.lane.urgent]
            organisations[claim.org_id].remove(claim)
            if not organisations[claim.org_id]:
                del organisations[claim.org_id]
        return claims

    def iterate(self) -> Iterator[Claim]:
        """Iterate over all deliveries, waiting and running."""
        yield from self._iterate_waiting()
        for running in self._running.values():
            yield running.claim

    def find_full_lanes(self, *, urgent: bool) -> set[Lane]:
        """Return the lanes of which none may start at present, however many are claimed."""
        return {lane for lane in self._measure().find_full_lanes() if lane.urgent == urgent}

    def count_ready(self, *, urgent: bool) -> Counter[UUID]:
        """Count the waiting deliveries of each organisation, without those of slow lanes."""
        slow = self._measure().slow_lanes
        waiting = self._waiting[urgent].items()
        return Counter({org_id: sum(claim.lane not in slow for claim in claims) for org_id, claims in waiting})

    def count_ready_of(self, org_id: UUID, *, urgent: bool) -> int:
        """Count the waiting deliveries of one organisation, without those of slow lanes."""
        slow = self._measure().slow_lanes
        return sum(claim.lane not in slow for claim in self._waiting[urgent].get(org_id, ()))

    def _iterate_waiting(self) -> Iterator[Claim]:
        for organisations in self._waiting.values():
            for claims in organisations.values():
                yield from claims

    def _measure(self) -> _Load:
        now = time.monotonic()
        self._failing = {lane: until for lane, until in self._failing.items() if until > now}
        while self._proved and next(iter(self._proved.values())) <= now:
            del self._proved[next(iter(self._proved))]
        running = list(self._running.values())
        hanging = [one.claim for one in running if now - one.started_at > HANG_AFTER]
        return _Load(self._policy, [one.claim for one in running], hanging, self._failing.keys(), self._proved.keys())


class _Load:
    """What is in flight, and what may therefore start."""

    def __init__(
        self,
        policy: ChannelPolicy,
        running: Sequence[Claim],
        hanging: Sequence[Claim],
        failing: AbstractSet[Lane],
        proved: AbstractSet[Lane],
    ) -> None:
        most = policy.max_in_flight
        self._policy = policy
        self._failing = failing
        self._proved = proved
        self._running_of = Counter(claim.lane for claim in running)
        self._running_by_urgency = Counter(claim.lane.urgent for claim in running)
        self._has_place_of_proved = bool(hanging) and all(claim.lane not in proved for claim in running)
        self._places = most - len(running) + min(len(hanging), MAX_REPLACED * most)
        self._hanging_lanes = {claim.lane for claim in hanging}
        self._hanging_lanes_of = Counter(
            (org_id, lane.urgent) for org_id, lane in {(claim.org_id, claim.lane) for claim in hanging}
        )
        all_failing = sum(claim.lane in failing for claim in running)
        hanging_failing = sum(claim.lane in failing for claim in hanging)
        self._places_of_failing = min(max(1, most // 2) - all_failing + hanging_failing, 2 * most - all_failing)

    @property
    def slow_lanes(self) -> AbstractSet[Lane]:
        return self._hanging_lanes | self._failing

    def find_full_lanes(self) -> AbstractSet[Lane]:
        if self._places_of_failing <= 0:
            return self.slow_lanes
        return self._hanging_lanes | {lane for lane in self._failing if self._running_of[lane]}

    def has_place(self, *, urgent: bool) -> bool:
        """Return whether a delivery of some lane may have a place."""
        return self._count_places(urgent=urgent, is_proved=bool(self._proved)) > 0

    def admits(self, claim: Claim) -> bool:
        lane = claim.lane
        if lane in self._hanging_lanes or self._count_places(urgent=lane.urgent, is_proved=lane in self._proved) <= 0:
            return False
        if lane in self._failing and self._places_of_failing <= 0:
            return False
        return self._running_of[lane] < self._find_share(claim)

    def _count_places(self, *, urgent: bool, is_proved: bool) -> int:
        further = (not self._running_by_urgency[urgent]) + (is_proved and self._has_place_of_proved)
        return self._places + further

    def _find_share(self, claim: Claim) -> int:
        """Return how many deliveries of the claim's lane this organisation may have in flight."""
        hanging, most = self._hanging_lanes_of[claim.org_id, claim.lane.urgent], self._policy.max_in_flight
        if claim.lane not in self._proved:
            return int(hanging < most)
        if hanging < most:
            return self._policy.max_in_flight_per_lane
        return int(hanging < 2 * most)

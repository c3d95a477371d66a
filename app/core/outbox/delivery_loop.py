"""The worker's job `deliver`: send the messages that are due, many at the same time, outside any transaction.

A run claims due deliveries, each organisation in turn, starts as many as their channel allows, and returns. Deliveries
go on after the run: one that ends makes room for the next one, and when few are waiting, another run is requested.
Outcomes are recorded together at short intervals: a crash repeats only the last few messages. A delivery keeps its id
over all attempts, so a receiver can recognise a second copy.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import UUID

import structlog

from app.core.database.pool import Database
from app.core.outbox import delivery_claims
from app.core.outbox.backoff import DELIVERY_BACKOFF
from app.core.outbox.channels import Channels, Outcome, Result, Sender
from app.core.outbox.delivery_claims import LEASE_DURATION, Claim, group_by_organisation
from app.core.outbox.delivery_lanes import HANG_AFTER, Lanes
from app.core.outbox.delivery_outcomes import FinishedAttempt, decide_outcome, record_attempts
from app.core.outbox.delivery_turns import MAX_WAITING, DeliveryTurns
from app.core.outbox.failure_log import FailureLog
from app.core.outbox.timers import serve_each

RENEWAL_INTERVAL = LEASE_DURATION.total_seconds() / 3
RECORD_INTERVAL = 0.05  # seconds
RECORD_RETRY_DELAY = 0.5  # seconds

log = structlog.get_logger("tessera.deliveries")


class DeliveryLoop:
    """Sends the due deliveries of all organisations.

    Args:
        request_run: called when there is room for more deliveries and more are due.
        renewal_interval: seconds after which a run renews the leases.
    """

    def __init__(
        self,
        database: Database,
        channels: Channels,
        request_run: Callable[[], None],
        *,
        renewal_interval: float = RENEWAL_INTERVAL,
    ) -> None:
        self._database = database
        self._channels = channels
        self._request_run = request_run
        self._lanes = {name: Lanes(channel.policy) for name, channel in channels.items()}
        self._senders: dict[str, Sender[Any]] = {}
        self._open_channels = AsyncExitStack()
        self._sending: set[asyncio.Task[None]] = set()
        self._recording: asyncio.Task[None] | None = None
        self._finished: list[FinishedAttempt] = []
        self._held: set[UUID] = set()  # the ids of claims until their outcomes are recorded
        self._failures = FailureLog("recording")
        self._writing = asyncio.Lock()  # leases and outcomes: two transactions on the same timers could deadlock
        self._turns = {True: DeliveryTurns(), False: DeliveryTurns()}  # by urgency
        self._renewal_interval = renewal_interval
        self._renewed_at = time.monotonic()
        self._stopping = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is claimed or unrecorded."""
        return not self._held

    # --- claiming ----------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Claim due deliveries, urgent ones first, and start them. Return the number of claims.

        Claims that cannot start soon are released, so that another worker may take them.
        """
        await self._release([claim for lanes in self._lanes.values() for claim in lanes.take_blocked()])
        await self._renew_leases()
        due = await delivery_claims.find_due_organisations(self._database)
        if not due:
            return 0
        with_urgent = await delivery_claims.find_due_organisations(self._database, urgent=True)
        return await self._claim(with_urgent, urgent=True) + await self._claim(due, urgent=False)

    async def _claim(self, organisations: Sequence[UUID], *, urgent: bool) -> int:
        """Claim a batch of each organisation that has few deliveries waiting, until there is no room."""
        turns, ready = self._turns[urgent], Counter[UUID]()
        for lanes in self._lanes.values():
            ready += lanes.count_ready(urgent=urgent)
        room = MAX_WAITING - ready.total()

        async def serve(org_id: UUID) -> int:
            nonlocal room
            limit = min(turns.batch, room)
            claimed = await self._claim_batch(org_id, limit, urgent=urgent)
            turns.note(org_id, limit=limit, claimed=claimed)
            room -= claimed
            return claimed

        return await serve_each(turns.plan(organisations, ready), serve, lambda: self._stopping or room <= 0)

    async def _claim_batch(self, org_id: UUID, limit: int, *, urgent: bool) -> int:
        full_lanes = {lane for lanes in self._lanes.values() for lane in lanes.find_full_lanes(urgent=urgent)}
        claims = await delivery_claims.claim_deliveries(
            self._database, org_id, self._channels, limit=limit, urgent=urgent, full_lanes=full_lanes
        )
        if self._stopping:
            await delivery_claims.release_deliveries(self._database, claims)
            return 0
        for claim in claims:
            if claim.id not in self._held:  # else the lease was lost, while the database was unavailable
                self._held.add(claim.id)
                await self._accept(claim)
        for lanes in self._lanes.values():
            self._start(lanes)
        return len(claims)

    async def _accept(self, claim: Claim) -> None:
        """Let the delivery wait for its turn; finish it at once if it cannot be sent."""
        name = claim.lane.channel
        if name not in self._channels:  # queued by another version of the code, while both are running
            self._finish(claim, Outcome(Result.TEMPORARY, f"This worker has no channel {name}"))
        elif claim.message is None:
            self._finish(claim, Outcome(Result.PERMANENT, "The message has no content"))
        else:
            if name not in self._senders:
                self._senders[name] = await self._open_channels.enter_async_context(self._channels[name].open())
            self._lanes[name].add([claim])

    def _iterate_claims(self) -> Iterator[Claim]:
        for lanes in self._lanes.values():
            yield from lanes.iterate()

    async def _release(self, claims: Sequence[Claim]) -> None:
        self._held -= {claim.id for claim in claims}
        async with self._writing:
            await delivery_claims.release_deliveries(self._database, claims)

    async def _renew_leases(self) -> None:
        if time.monotonic() - self._renewed_at > self._renewal_interval:
            async with self._writing:
                await delivery_claims.renew_leases(self._database, list(self._iterate_claims()))
            self._renewed_at = time.monotonic()

    # --- sending -----------------------------------------------------------------------------------------------------

    def _start(self, lanes: Lanes) -> None:
        """Start all deliveries of a channel that may start."""
        while not self._stopping and (claim := lanes.start_next()):
            task = asyncio.create_task(self._send(lanes, claim))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, lanes: Lanes, claim: Claim) -> None:
        # Once it hangs, another one may start in its place.
        replacing = asyncio.get_running_loop().call_later(HANG_AFTER + 0.01, self._start, lanes)
        outcome = None
        try:
            outcome = await self._senders[claim.lane.channel].send(claim.message)
        finally:
            replacing.cancel()
            lanes.finish(claim, outcome)
        self._finish(claim, outcome)
        self._start(lanes)
        urgent = claim.lane.urgent
        if self._turns[urgent].needs_more(claim.org_id, lanes.count_ready_of(claim.org_id, urgent=urgent)):
            self._request_run()

    # --- recording ---------------------------------------------------------------------------------------------------

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        """Record the outcome soon, with those of other deliveries."""
        channel = self._channels.get(claim.lane.channel)
        self._finished.append(decide_outcome(claim, outcome, channel.policy.backoff if channel else DELIVERY_BACKOFF))
        if self._recording is None:
            self._recording = asyncio.create_task(self._record_until_empty())

    async def _record_until_empty(self) -> None:
        """Record outcomes, and retry while the database is unavailable: otherwise messages would be sent again."""
        try:
            wait = RECORD_INTERVAL
            while self._finished:
                await asyncio.sleep(wait)
                wait = RECORD_INTERVAL if await self._record() else RECORD_RETRY_DELAY
        finally:
            self._recording = None

    async def _record(self) -> bool:
        """Record the outcomes so far; keep those that fail, and return whether none did."""
        unrecorded = dict(group_by_organisation(self._finished))
        self._finished = []
        try:
            async with self._writing:
                for org_id, attempts in list(unrecorded.items()):
                    if await self._record_group(org_id, attempts):
                        self._held -= {attempt.claim.id for attempt in unrecorded.pop(org_id)}
        finally:
            self._finished += [attempt for attempts in unrecorded.values() for attempt in attempts]
        return not unrecorded

    async def _record_group(self, org_id: UUID, attempts: Sequence[FinishedAttempt]) -> bool:
        try:
            await record_attempts(self._database, org_id, attempts)
        except Exception as error:  # noqa: BLE001 - logged, and tried again
            self._failures.note_failure("outcomes", error)
            return False
        self._failures.note_success("outcomes")
        return True

    # --- stopping ----------------------------------------------------------------------------------------------------

    async def stop(self, seconds: float) -> None:
        """Release what has not started, give the rest some seconds to finish, record outcomes and close the channels.

        A delivery that does not finish comes due again at the end of its lease.
        """
        self._stopping = True
        with suppress(Exception):  # then they come due at the end of their leases
            await self._release([claim for lanes in self._lanes.values() for claim in lanes.take_waiting()])
        await _finish_or_cancel(self._sending, seconds)
        if self._recording is not None:
            await _finish_or_cancel([self._recording], seconds)
        await self._record()
        await self._open_channels.aclose()


async def _finish_or_cancel(tasks: Collection[asyncio.Task[None]], seconds: float) -> None:
    """Wait some seconds for the tasks, then cancel those that still run."""
    tasks = list(tasks)
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

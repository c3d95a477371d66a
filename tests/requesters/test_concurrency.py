"""Tickets are opened while their requester changes: nothing deadlocks, and nothing fails."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest

from app.core.clock import real_now
from app.core.outbox.events import SYSTEM
from app.requesters import service
from app.requesters.errors import RequesterHasAccount, RequesterNotFound
from tests.organisation_client import Desk
from tests.requesters.rows import read_requesters
from tests.tickets.rows import assert_events_are_numbered_without_gaps
from tests.tickets.search.searching import relay_events
from tests.tickets.users import add_customer, verify

TEXTS = {"title": "It broke", "description": "All of it."}
ROUNDS = 2


class Person:
    """A person with an account and two addresses, each with a requester in every second round."""

    def __init__(self, desk: Desk, account: Any, place: int) -> None:
        self.desk, self.account, self.place = desk, account, place
        self.emails = account.email, f"new{place}.{account.email}"

    async def open_first(self) -> None:
        await self.open(email=self.emails[0])

    async def open_second(self) -> None:
        await self.open(email=self.emails[1])

    async def open_named(self) -> None:
        await self.open(email=self.emails[1], name="Mia Chen", externalId=f"{self.account.id}")

    async def open(self, **requester: str) -> None:
        headers = {"X-Org-Secret": self.desk.secret}
        answer = await self.desk.api.http.post("/tickets", json=TEXTS | {"requester": requester}, headers=headers)
        # The id may have become the one of the other requester.
        assert answer.status_code == 201 or answer.json()["code"] == "external_id_taken", answer.text

    async def open_own(self) -> None:
        answer = await self.account.post("/tickets", TEXTS)
        assert answer.status_code in {201, 401}, answer.text  # 401 once the account is erased

    async def change_address(self) -> None:
        await verify(self.desk, self.account, email=self.emails[1])

    async def change_name(self) -> None:
        answer = await self.account.patch("/me", {"lastName": "Holm"})
        assert answer.status_code in {200, 401}, answer.text

    async def erase_user(self) -> None:
        answer = await self.desk.admin.delete(f"/users/{self.account.id}")
        assert answer.status_code == 204, answer.text

    async def erase_requester(self) -> None:
        found = [one.id for one in await read_requesters(self.desk) if one.erased_at is None]
        for requester_id in found:
            await self.erase(requester_id)

    async def change_requester(self) -> None:
        await self.call_for_each("PATCH", "", {"locale": "de"}, {200, 404})

    async def merge_requesters(self) -> None:
        living = [one.id for one in await read_requesters(self.desk) if one.erased_at is None]
        for into in living[1:2]:
            await self.call_for_each("POST", "/merge", {"into": str(into)}, {200, 404, 409})

    async def relay(self) -> None:
        """Write mails and search words, as the worker does."""
        await relay_events(self.desk)

    async def call_for_each(self, method: str, operation: str, body: Any, statuses: set[int]) -> None:
        headers = {"X-Org-Secret": self.desk.secret}
        for one in await read_requesters(self.desk):
            path = f"/requesters/{one.id}{operation}"
            answer = await self.desk.api.http.request(method, path, json=body, headers=headers)
            assert answer.status_code in statuses, answer.text

    async def erase(self, requester_id: UUID) -> None:
        try:
            async with self.desk.database.session(self.desk.id) as db:
                await service.erase(db, self.desk.id, requester_id, at=real_now(), actor=SYSTEM)
        except (RequesterNotFound, RequesterHasAccount):  # erased with the user, or has one
            pass


WAYS = (
    Person.open_first, Person.open_second, Person.open_named, Person.open_own, Person.change_address,
    Person.change_name, Person.erase_user, Person.erase_requester, Person.change_requester, Person.merge_requesters,
    Person.relay,
)  # fmt: skip
# `verify` knows nothing of an erasure.
PAIRS = [pair for pair in combinations(WAYS, 2) if pair != (Person.change_address, Person.erase_user)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: " and ".join(way.__name__ for way in pair))
async def test_two_operations_on_a_requester_at_the_same_time_both_succeed(desk: Desk, pair: tuple[Any, Any]) -> None:
    for place in range(ROUNDS):
        person = Person(desk, await add_customer(desk), place)
        if place % 2:
            await person.open_first()
            await person.open_second()

        await asyncio.gather(*(way(person) for _ in range(2) for way in pair if way is not Person.erase_user or not _))

        living = [one for one in await read_requesters(desk) if one.erased_at is None]
        owned = [one.email for one in living if one.owns_email]
        assert len(owned) == len(set(owned))
    await assert_events_are_numbered_without_gaps(desk)


async def test_the_worker_locks_requesters_in_the_order_in_which_requests_lock_them(desk: Desk) -> None:
    """The new requester is indexed before the mails about both are written."""
    known = UUID((await desk.open(requester={"email": "known@customer.example"}))["requester"]["id"])
    await relay_events(desk)
    new = UUID((await desk.open(requester={"email": "new@customer.example"}))["requester"]["id"])
    await desk.open(requester={"email": "known@customer.example"})

    async with desk.database.session(desk.id) as db:
        await service.lock_requesters(db, desk.id, known)
        relaying = asyncio.create_task(relay_events(desk))
        await asyncio.sleep(0.3)
        assert not relaying.done()
        await service.lock_requesters(db, desk.id, new)
    await relaying

"""Clients that open tickets, change them and sign users up without a pause, and what the service acknowledged to them.

A ticket belongs to one client, so its acknowledged state is exact. A request without a response may have happened or
not. After such a request, the client leaves that ticket as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import httpx

from tests.tessera_process import PASSWORD, Client

JSON = dict[str, Any]
CLIENTS_PER_ORGANISATION = 3
MAX_CHANGES = 5  # of one ticket
SIGN_UP_PROBABILITY = 0.05  # after each ticket
STATUSES = ("OPEN", "IN_PROGRESS", "RESPONDED", "RESOLVED", "CLOSED")
PRIORITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")

# The type of an event, and of a change of status or priority also the values before and after.
EventSummary = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A request that changes a ticket: the values that it sets, and the events that it causes."""

    method: str
    path: str
    body: JSON
    values: dict[str, str]
    events: list[EventSummary]


@dataclass
class TicketRecord:
    """A ticket as the service acknowledged it.

    Attributes:
        state: the ticket in the last response; empty if the request that opens it got none.
        comments: the acknowledged replies, oldest first.
        events: the events of the acknowledged requests, in order.
        uncertain: the last request, if it got no response.
    """

    title: str
    state: JSON = field(default_factory=dict)
    comments: list[JSON] = field(default_factory=list)
    events: list[EventSummary] = field(default_factory=list)
    uncertain: Change | None = None


@dataclass
class UserRecord:
    """A user who signed up. `state` is empty if the request got no response."""

    email: str
    state: JSON = field(default_factory=dict)


@dataclass
class Load:
    """The requests of an organisation's clients, and the responses."""

    client: Client
    random: Random
    tickets: list[TicketRecord] = field(default_factory=list)
    users: list[UserRecord] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    acknowledged: int = 0
    broken: int = 0  # requests without a response
    running: bool = True

    async def run_client(self) -> None:
        while self.running:
            ticket = await self._open()
            for _ in range(self.random.randint(0, MAX_CHANGES)):
                if self.running and ticket.state and not ticket.uncertain:
                    await self._change(ticket)
            if self.random.random() < SIGN_UP_PROBABILITY:
                await self._sign_up()

    async def _open(self) -> TicketRecord:
        ticket = TicketRecord(f"Broken {uuid4().hex}")
        self.tickets.append(ticket)
        response = await self._send(lambda: self.client.open(ticket.title))
        if response is not None:
            ticket.state = response.json()
            ticket.events = [("ticket.created",), ("ticket.assigned",)]
        return ticket

    async def _change(self, ticket: TicketRecord) -> None:
        change = self._choose_change(ticket.state)
        response = await self._send(
            lambda: self.client.http.request(change.method, change.path, json=change.body, headers=self.client.admin)
        )
        if response is None:
            ticket.uncertain = change
            return
        content = response.json()
        if "message" in content:
            ticket.state = content["ticket"]
            ticket.comments.append({name: content[name] for name in ("id", "message", "author", "createdAt")})
        else:
            ticket.state = content
        ticket.events += change.events

    def _choose_change(self, state: JSON) -> Change:
        path, before = f"/tickets/{state['id']}", state["status"]
        kind = self.random.choice(("status", "priority", "reply") if before != "CLOSED" else ("status", "priority"))
        if kind == "reply":
            events: list[EventSummary] = [("ticket.responded",)]
            if before != "RESPONDED":
                events.append(("ticket.status_changed", before, "RESPONDED"))
            message = f"Fixed {uuid4().hex}."
            return Change("POST", f"{path}/respond", {"message": message}, {"status": "RESPONDED"}, events)
        choices, event = (STATUSES, "ticket.status_changed") if kind == "status" else (PRIORITIES, "ticket.updated")
        value = self.random.choice([one for one in choices if one != state[kind]])
        return Change("PATCH", path, {kind: value}, {kind: value}, [(event, state[kind], value)])

    async def _sign_up(self) -> None:
        user = UserRecord(f"mia{uuid4().hex}@customer.test")
        self.users.append(user)
        body = {
            "org": self.client.domain, "firstName": "Mia", "lastName": "Holm", "email": user.email,
            "password": PASSWORD,
        }  # fmt: skip
        response = await self._send(lambda: self.client.http.post("/auth/signup", json=body))
        if response is not None:
            user.state = response.json()

    async def _send(self, request: Callable[[], Any]) -> httpx.Response | None:
        """Return the response, or `None` if the connection broke."""
        try:
            response: httpx.Response = await request()
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            self.broken += 1
            return None
        if response.is_success:
            self.acknowledged += 1
            return response
        self.refusals.append(f"{response.status_code} {response.text[:300]}")
        return None


@asynccontextmanager
async def under_load(clients: list[Client], random: Random) -> AsyncIterator[list[Load]]:
    """Run the load of each organisation; let its clients finish their requests at the end."""
    loads = [Load(client, random) for client in clients]
    tasks = [asyncio.create_task(load.run_client()) for load in loads for _ in range(CLIENTS_PER_ORGANISATION)]
    try:
        yield loads
    finally:
        for load in loads:
            load.running = False
        await asyncio.gather(*tasks)

"""Continuous requests to several web processes, as a load balancer sends them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.databases import eventually
from tests.tessera_process import Client, Program

CLIENTS = 4
PAUSE = 0.03  # seconds between a client's requests, in which other processes can start


@dataclass
class Balancer:
    """The web processes that get requests, and what became of the requests."""

    client: Client
    processes: list[Program] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)  # acknowledged
    sent: Counter[str] = field(default_factory=Counter)  # by the URL of the process
    failed: list[str] = field(default_factory=list)
    _in_flight: Counter[str] = field(default_factory=Counter)

    async def drain(self, program: Program) -> None:
        """Send no more requests to a process, and wait for those in flight."""
        self.processes.remove(program)

        async def is_idle() -> bool:
            return not self._in_flight[program.url]

        assert await eventually(is_idle)

    async def run_client(self) -> None:
        """Open tickets, work on them and read them, without end."""
        while True:
            opened = await self.request("POST", "/tickets", headers=self.client.secret, json=NEW_TICKET)
            if opened is None:
                continue
            ticket = f"/tickets/{opened['id']}"
            self.tickets.append(opened["id"])
            await self.request("GET", "/health/ready")
            await self.request("POST", f"{ticket}/respond", json={"message": "Fixed."})
            await self.request("PATCH", ticket, json={"priority": "HIGH", "title": "It broke again"})
            await self.request("GET", ticket)
            await self.request("GET", f"{ticket}/history")
            await self.request("GET", "/tickets?status=RESPONDED&q=broke")

    async def request(self, method: str, path: str, **options: Any) -> dict[str, str] | None:
        """Send a request to one of the processes. Return the response, or `None` if it failed."""
        await asyncio.sleep(PAUSE)
        url = random.choice(self.processes).url
        self._in_flight[url] += 1
        self.sent[url] += 1
        try:
            headers = options.pop("headers", self.client.admin)
            answer = await self.client.http.request(method, url + path, headers=headers, **options)
        except httpx.TransportError as error:
            self.failed.append(f"{method} {path}: {error!r}")
            return None
        finally:
            self._in_flight[url] -= 1
        if answer.is_error:
            self.failed.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return None
        body: dict[str, str] = answer.json()
        return body


NEW_TICKET = {"title": "It broke", "description": "All of it.", "requester": {"email": "mia@customer.example"}}


@asynccontextmanager
async def running_load(client: Client, *processes: Program) -> AsyncIterator[Balancer]:
    """Send requests to the processes until the end."""
    balancer = Balancer(client, list(processes))
    tasks = [asyncio.create_task(balancer.run_client()) for _ in range(CLIENTS)]
    try:
        yield balancer
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)] == []

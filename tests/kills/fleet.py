"""Three web processes and three workers on one database. A process that is killed is started again at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from tests.databases import eventually
from tests.kills.forked_tessera import ForkedProgram, fork_tessera
from tests.tessera_process import READY, WORKING

PROCESSES = 3  # of each kind
WEB, WORKER = "serve", "worker"
READY_TEXTS = {WEB: READY, WORKER: WORKING}
# Outgoing connections do not take these ports, so a web process gets its port again after a kill.
PORTS = range(20_000, 32_000)
START_TIMEOUT = 60.0  # seconds


@dataclass(eq=False)
class Slot:
    """A process, and after its death the next one with the same port."""

    command: str
    port: int
    program: ForkedProgram

    @property
    def is_ready(self) -> bool:
        return self.program.has_printed(READY_TEXTS[self.command])


@dataclass
class Fleet:
    folder: Path
    settings: dict[str, object]
    random: Random
    slots: list[Slot] = field(default_factory=list)
    killed: list[ForkedProgram] = field(default_factory=list)
    stopped: list[ForkedProgram] = field(default_factory=list)
    _started: int = 0

    def start_all(self, command: str) -> None:
        for _ in range(PROCESSES):
            port = self._find_port()
            self.slots.append(Slot(command, port, self._start(command, port)))

    def _find_port(self) -> int:
        while True:
            port = self.random.choice(PORTS)
            with socket.socket() as candidate:
                if all(slot.port != port for slot in self.slots) and candidate.connect_ex(("127.0.0.1", port)) != 0:
                    return port

    def _start(self, command: str, port: int) -> ForkedProgram:
        self._started += 1
        name = f"{command}-{self._started}"
        # The mails of a worker can be identified by their sender.
        return fork_tessera(command, name, self.folder, port=port, mail_from=f"{name}@growfin.test", **self.settings)

    @property
    def web_ports(self) -> list[int]:
        return [slot.port for slot in self.slots if slot.command == WEB]

    async def wait_until_ready(self, command: str, count: int = PROCESSES) -> list[Slot]:
        """Wait until this number of processes is ready; return all that are."""

        async def are_ready() -> bool:
            return len(self.find_ready(command)) >= count

        assert await eventually(are_ready, within=START_TIMEOUT), [slot.program.lines() for slot in self.slots]
        return self.find_ready(command)

    def find_ready(self, command: str) -> list[Slot]:
        return [slot for slot in self.slots if slot.command == command and slot.is_ready]

    async def kill_one(self, command: str) -> ForkedProgram:
        """Kill a random process with SIGKILL, and start another one in its place. At least one remains ready."""
        slot = self.random.choice(await self.wait_until_ready(command, 2))
        program = slot.program
        assert program.is_running, program.lines()
        await program.kill()
        slot.program = self._start(command, slot.port)
        self.killed.append(program)
        return program

    async def stop_all(self, command: str) -> None:
        """Stop these processes as an operator does."""
        slots = await self.wait_until_ready(command)
        self.slots = [slot for slot in self.slots if slot not in slots]
        self.stopped += [slot.program for slot in slots]
        assert await asyncio.gather(*(slot.program.stop() for slot in slots)) == [0] * PROCESSES


@asynccontextmanager
async def running_fleet(folder: Path, random: Random, settings: dict[str, object]) -> AsyncIterator[Fleet]:
    """Run the processes; kill them at the end if they are still running."""
    fleet = Fleet(folder, settings, random)
    try:
        fleet.start_all(WEB)
        fleet.start_all(WORKER)
        await fleet.wait_until_ready(WEB)
        await fleet.wait_until_ready(WORKER)
        yield fleet
    finally:
        await asyncio.gather(*(slot.program.kill() for slot in fleet.slots))


class BalancingTransport(httpx.AsyncBaseTransport):
    """Send each request to a random web process. If nothing listens there, send it to another one.

    A request that fails later is not repeated, because the process may have done its work.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._transport = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ports = self._fleet.web_ports
        self._fleet.random.shuffle(ports)
        for port in ports:
            request.url = request.url.copy_with(port=port)
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError:
                continue
        raise AssertionError("no web process listens")

    async def aclose(self) -> None:
        await self._transport.aclose()

"""`tessera …` as real processes, with real signals."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil  # type: ignore[import-untyped]
from sqlalchemy import make_url

from app.core.database.migrations import migrate
from app.core.embedded import start
from tests.postgres import create_folder

TESSERA = str(Path(sys.executable).with_name("tessera"))
SECRET_KEY = "tests-only-VrZ3kq8WmT1xuYbE6hNsLoJ0cDf7gPa"
PASSWORD = "cobalt-heron-47-lamp"
READY = "Tessera is ready"
WORKING = "The worker is running"


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def working_folder() -> Iterator[Path]:
    """Yield a folder for `DATA_DIR` and other files; kill the embedded server and delete it at the end."""
    folder = create_folder()
    try:
        yield folder
    finally:
        for pid in server_processes(folder / "data"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def create_embedded_database(data_dir: Path) -> None:
    """Create and migrate the embedded database without starting Tessera."""
    with start(data_dir, durable=False) as server:
        migrate(server.address.owner_url, make_url(server.address.service_url).username)


def copy_data_dir(source: Path, data_dir: Path) -> None:
    subprocess.run(["cp", "-a", source, data_dir], check=True)


async def has_mails(folder: Path, count: int) -> bool:
    """Return whether exactly this many mails have been written."""
    return len(list(folder.glob("data/mail/*.eml"))) == count  # noqa: ASYNC240 - a folder in memory


def server_processes(data_dir: Path) -> list[int]:
    """Return the pids of the embedded server's processes, the main one first."""
    try:
        pid = int((data_dir / "postgres/postmaster.pid").read_text().split("\n")[0])
        server = psutil.Process(pid)
        if server.status() == psutil.STATUS_ZOMBIE or str(data_dir) not in " ".join(server.cmdline()):
            return []
        return [pid, *(child.pid for child in server.children(recursive=True))]
    except (OSError, ValueError, psutil.NoSuchProcess):
        return []


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass
class Program:
    """A running `tessera …` command."""

    process: asyncio.subprocess.Process
    port: str
    data_dir: Path
    started: float
    out: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.errors)):
            self._readers.append(asyncio.create_task(self._read(stream, lines)))

    @staticmethod
    async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
        while line := await stream.readline():
            lines.append(line.decode(errors="replace").rstrip("\n"))

    async def wait_for_output(self, text: str, within: float = 60.0) -> float:
        """Wait until a line of output contains the text; return the seconds since the start."""
        deadline = time.monotonic() + within
        while not any(text in line for line in self.out):
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise AssertionError(f"never printed {text!r}: {self.process.returncode} {self.out} {self.errors}")
            await asyncio.sleep(0.01)
        return time.monotonic() - self.started

    async def wait_for_exit(self, within: float = 60.0) -> int:
        """Wait until the process ends; return its exit code."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await asyncio.gather(*self._readers)
        return code

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal and wait until the process ends; return the seconds that this took."""
        started = time.monotonic()
        self.process.send_signal(how)
        await self.wait_for_exit()
        return time.monotonic() - started

    def processes(self) -> set[int]:
        """Return the pids of the process, its descendants and the embedded server."""
        pids = set(server_processes(self.data_dir))
        with suppress(psutil.NoSuchProcess):
            itself = psutil.Process(self.process.pid)
            pids |= {process.pid for process in (itself, *itself.children(recursive=True))}
        return pids

    def connections(self) -> dict[int, int]:
        """Return the number of client connections of each web process."""
        children = psutil.Process(self.process.pid).children()
        web_processes = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return {
            child.pid: sum(bool(held.raddr) and held.laddr.port == int(self.port) for held in child.net_connections())
            for child in web_processes
        }

    async def kill(self) -> None:
        """Kill the process, its descendants and the embedded server with SIGKILL."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.wait_for_exit()


@asynccontextmanager
async def run_tessera(command: str, folder: Path, *arguments: str, **settings: object) -> AsyncIterator[Program]:
    """Run `tessera <command>` with exactly these settings; kill it at the end if it is still running.

    With the setting `pythonpath`, it is the command of the code in that folder.
    """
    values = {"data_dir": folder / "data", "port": free_port(), "sign_up_limit": "1000/minute", **settings}
    environment = {name.upper(): str(value) for name, value in values.items()}
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - without a thread
    # The installed command always runs the installed code.
    program_path = [sys.executable, "-c", "from app.cli import main; main()"] if "pythonpath" in settings else [TESSERA]
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *program_path, command, *arguments,
        cwd=folder, env={"PATH": os.environ["PATH"], **environment}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    program = Program(process, str(values["port"]), Path(str(values["data_dir"])), started)
    program.read()
    try:
        yield program
    finally:
        if process.returncode is None:
            await program.kill()


@dataclass
class Client:
    """An organisation on a running service, with its secret key and a signed-in admin."""

    http: httpx.AsyncClient
    org_id: str
    domain: str
    secret: dict[str, str]
    admin: dict[str, str]

    async def open(self, title: str = "It broke") -> httpx.Response:
        body = {"title": title, "description": "All of it.", "addedBy": "mia@customer.example"}
        return await self.http.post("/tickets", json=body, headers=self.secret)

    async def ticket(self) -> str:
        answer = await self.open()
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def respond(self, ticket_id: str) -> httpx.Response:
        return await self.http.post(f"/tickets/{ticket_id}/respond", json={"message": "Fixed."}, headers=self.admin)

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        return await self.http.get(path, params=parameters, headers=self.admin)

    async def numbers(self) -> list[int]:
        """Return the sorted numbers of all tickets."""
        numbers: list[int] = []
        cursor: str | None = None
        while True:
            page = (await self.get("/tickets", limit=100, **({"cursor": cursor} if cursor else {}))).json()
            numbers.extend(ticket["number"] for ticket in page["items"])
            cursor = page["nextCursor"]
            if cursor is None:
                return sorted(numbers)


@asynccontextmanager
async def signed_up_client(url: str) -> AsyncIterator[Client]:
    """Sign up an organisation and an admin over HTTP; yield a client."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield await sign_up(http)


async def sign_up(http: httpx.AsyncClient) -> Client:
    """Sign up an organisation and an admin; return their client."""
    domain = f"d{uuid4().hex}.test"
    signed_up = await http.post("/auth/org/signup", json={"name": "Growfin", "domain": domain, "sandbox": True})
    assert signed_up.status_code == 201, signed_up.text
    secret = {"X-Org-Secret": signed_up.json()["secret"]}
    user = {"firstName": "Ada", "lastName": "L", "email": f"ada@{domain}", "password": PASSWORD}
    admin = await http.post("/auth/admin/signup", json=user, headers=secret)
    assert admin.status_code == 201, admin.text
    signed_in = await http.post("/auth/admin/signin", json={"email": f"ada@{domain}", "password": PASSWORD})
    assert signed_in.status_code == 200, signed_in.text
    bearer = {"Authorization": f"Bearer {signed_in.json()['jwt']}"}
    return Client(http, signed_up.json()["id"], domain, secret, bearer)

"""The README's tour, pasted into a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.conftest import copy_database, settings_for
from tests.http_server import running_server

if TYPE_CHECKING:
    from tests.postgres import TestServer

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
LOCAL = "http://127.0.0.1:8000"

SHELLS = {"bash": ["bash", "--noprofile", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}
MISSING = "needs another shell: apt-get install "

PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"  # around pasted text, in terminals with bracketed paste
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\r")

# The output of each step of the tour.
STEPS = [
    r"    name: Growfin\n    domain: growfin\.tour\d+\.com\n    now: 20",
    r"    email: ada@growfin\.tour\d+\.com\n    role: ADMIN\n    status: ACTIVE\n",
    r"    reference: GROWFIN-1\n    title: Cannot export March\n    status: OPEN\n    assignee\.firstName: Ada\n",
    r"    message: Fixed\. Please try again\.\n    ticket\.status: RESPONDED\n    ticket\.autoCloseAt: 20",
    r"    to: mia@customer\.example\n    subject: .*Cannot export March.*\n    status: SENT\n",
    r"    now: 20.*\n",
    r"    status: CLOSED\n    closedAt: 20",
    r"    type: ticket\.created\n    actor\.type: ORGANISATION\n",
    r"    type: ticket\.status_changed\n    actor\.type: SYSTEM\n",
    r"    status: PENDING\n",
    r"    email: bo@growfin\.tour\d+\.com\n    role: ENGINEER\n    status: ACTIVE\n",
    r"    reference: GROWFIN-2\n    status: IN_PROGRESS\n    assignee\.firstName: Bo\n    acceptedAt: 20",
    r"    reference: GROWFIN-2\n    title: Cannot sign in\n",
]


@pytest.fixture(scope="module")
async def address(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a service with a worker, on a separate database."""
    name = f"readme_{uuid4().hex[:8]}"
    await copy_database(server, name)
    settings = settings_for(server.at(name), worker="inline", data_dir=tmp_path_factory.mktemp("data"))
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, running_server(settings))
        await asyncio.to_thread(stack.close)


class Terminal:
    """An interactive shell in a terminal."""

    def __init__(self, command: list[str]) -> None:
        self._terminal, inside = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "xterm", "LANG": "C.UTF-8"}
        self._shell = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=inside, env=environment, start_new_session=True
        )
        os.close(inside)

    def paste(self, text: str, *, bracketed: bool) -> str:
        """Paste a text and press Enter; return what the terminal shows until all commands have run."""
        os.set_blocking(self._terminal, False)
        pasted = f"{PASTE_BEGINS}{text}{PASTE_ENDS}\n" if bracketed else text
        waiting, shown = f"{pasted}\nprintf 'all %s\\n' done\n".encode(), b""
        give_up_at = time.monotonic() + 60
        while b"all done" not in shown:
            assert time.monotonic() < give_up_at, shown.decode()
            readable, writable, _ = select.select([self._terminal], [self._terminal] if waiting else [], [], 1)
            if readable:
                shown += os.read(self._terminal, 65536)
            if writable:
                waiting = waiting[os.write(self._terminal, waiting[:512]) :]
        return _CONTROL.sub("", shown.decode())

    def close(self) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        os.close(self._terminal)


def check_steps(shown: str) -> None:
    rest = shown
    for step in STEPS:
        found = re.search(step, rest)
        assert found, f"not shown: {step}\n{rest}"
        rest = rest[found.end() :]
    for trouble in ("not found", "no matches", "Traceback", "error", "code:", "detail:"):
        assert f"\n{trouble}" not in shown, shown
        assert f": {trouble}" not in shown, shown


@pytest.mark.parametrize("shell", SHELLS)
async def test_the_tour_can_be_pasted_repeatedly(address: str, shell: str) -> None:
    if shutil.which(shell) is None:
        if os.environ.get("TESSERA_CI"):
            pytest.fail(MISSING + shell)
        pytest.skip(MISSING + shell)
    assert len(BLOCKS) == 2
    tour = "".join(BLOCKS).replace("sleep 2", "sleep 4")  # a busy machine is slower
    assert LOCAL in tour
    terminal = Terminal(SHELLS[shell])
    try:
        for bracketed in (False, True):
            shown = await asyncio.to_thread(terminal.paste, tour.replace(LOCAL, address), bracketed=bracketed)
            check_steps(shown)
    finally:
        terminal.close()


def test_the_tour_has_no_comments() -> None:
    """Zsh executes a pasted comment as a command."""
    assert not re.search(r"^\s*#", "".join(BLOCKS), re.MULTILINE)

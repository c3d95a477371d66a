"""`tessera …` processes that start quickly: forks of a process that has already imported the service.

They are processes like those of the command: with their own sockets and connections, and killed without notice. Only
the imports are shared, which take most of the two to three seconds that `tessera serve` needs to start.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from app.cli import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "tests.kills.preloaded"])


@dataclass(frozen=True, eq=False)
class ForkedProgram:
    """A running `tessera …` command. Its output, of both streams, is in a file."""

    name: str
    process: BaseProcess
    output: Path

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def has_printed(self, text: str) -> bool:
        return any(text in line for line in self.lines())

    async def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.process.kill()
        await asyncio.to_thread(self.process.join)

    async def stop(self) -> int | None:
        """Send SIGTERM and wait until the process ends; return its exit code, or `None` if it does not end."""
        self.process.terminate()
        await asyncio.to_thread(self.process.join, 20)
        return self.process.exitcode


def fork_tessera(command: str, name: str, folder: Path, **settings: object) -> ForkedProgram:
    """Run `tessera <command>` with exactly these settings. The name is that of the file with its output."""
    environment = {setting.upper(): str(value) for setting, value in settings.items()}
    output = folder / f"{name}.log"
    output.touch()
    process = _FORKS.Process(target=_run, args=(command, folder, environment, output), name=name, daemon=True)
    process.start()
    return ForkedProgram(name, process, output)


def _run(command: str, folder: Path, environment: dict[str, str], output: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["tessera", command]
    main()

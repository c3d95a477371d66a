"""Start the server again when it ends by itself: killed by the system, or crashed."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from app.core.embedded.site import EmbeddedUnavailable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    # Starts the server, and gives up once the given function returns true.
    Launch = Callable[[Callable[[], bool]], subprocess.Popen[bytes]]

CHECK_INTERVAL = 0.1  # seconds
STABLE_SECONDS = 60.0  # a server that ran for so long is started again at once
FIRST_DELAY = 0.5  # seconds
MAX_DELAY = 30.0  # seconds

log = logging.getLogger("tessera.embedded")


def choose_delay(failures: int) -> float:
    """Return the seconds to wait before the next start, after so many ends and failed starts in a row."""
    return 0.0 if failures == 0 else min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 10))


class Supervisor:
    """A thread that starts a server again whenever it ends, ever later if it ends again and again.

    The thread runs until `stop`, because the kernel stops the servers that it started when it ends (`process.py`).

    Args:
        server: the running server.
        launch: starts it again.
    """

    def __init__(self, server: subprocess.Popen[bytes], launch: Launch) -> None:
        self._server = server
        self._launch = launch
        self._stopping = threading.Event()
        self._failures = 0  # ends and failed starts in a row
        self._started_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="embedded-postgres", daemon=True)
        self._thread.start()

    def stop(self) -> subprocess.Popen[bytes]:
        """Stop watching, give up a start in progress, and return the server that was started last."""
        self._stopping.set()
        self._thread.join()
        return self._server

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_INTERVAL):
            if self._server.poll() is not None:
                self._restart()

    def _restart(self) -> None:
        ended_at = time.monotonic()
        if ended_at - self._started_at > STABLE_SECONDS:
            self._failures = 0
        delay = choose_delay(self._failures)
        log.error("The embedded PostgreSQL ended (code %d). It starts again in %g s.", self._server.returncode, delay)
        while not self._stopping.wait(delay):
            self._failures += 1
            try:
                self._server = self._launch(self._stopping.is_set)
            except (EmbeddedUnavailable, OSError) as error:
                if self._stopping.is_set():
                    return
                delay = choose_delay(self._failures)
                log.error("The embedded PostgreSQL: %s. The next attempt is in %g s.", error, delay)  # noqa: TRY400
                continue
            self._started_at = time.monotonic()
            log.warning("The embedded PostgreSQL runs again after %.1f s.", self._started_at - ended_at)
            return

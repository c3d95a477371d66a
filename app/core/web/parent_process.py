"""End a web process whose parent was killed: it would serve the port for ever, and nothing would stop or replace it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

# Seconds after `shutdown_timeout` in which a process must have ended by itself.
SHUTDOWN_MARGIN = 3.0


def stop_with_parent(shutdown_timeout: float) -> None:
    """Stop this process, like SIGTERM, when the parent that started it with `multiprocessing` ends in any way.

    The parent holds one end of a pipe, which the kernel closes. That works on every system and for every thread, unlike
    a signal at the parent's death. A process without such a parent is left alone.

    Args:
        shutdown_timeout: the seconds that requests in flight have to finish.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_parent() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(shutdown_timeout + SHUTDOWN_MARGIN)
        os._exit(1)

    threading.Thread(target=wait_for_parent, name="parent-process", daemon=True).start()

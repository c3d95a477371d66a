"""The service on a real socket, in a thread, for clients that need a network connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from app.core.config import Settings
from app.core.web.protocol import make_bounded_protocol
from app.main import create_app

START_TIMEOUT = 20.0  # seconds


@contextmanager
def running_server(settings: Settings) -> Iterator[str]:
    """Serve on a free port of this machine; yield the URL."""
    config = uvicorn.Config(
        create_app(settings), http=make_bounded_protocol(settings.header_timeout), ws="none", log_config=None,
        access_log=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            assert time.monotonic() < deadline, "the service did not start in time"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT)
        listener.close()

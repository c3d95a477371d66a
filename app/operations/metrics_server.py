"""Serve the metrics on a separate port, which need not be reachable by clients of the API."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

REFRESH_TIMEOUT = 5.0  # seconds

log = structlog.get_logger("tessera.operations")


def render_metrics() -> bytes:
    """Return the metrics of all web processes, in the text format of Prometheus."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class _Server(ThreadingWSGIServer):
    allow_reuse_port = True  # each web process serves the metrics of all


class _ServerOnIpv6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@contextmanager
def serving_metrics(host: str, port: int | None, refresh: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Serve `GET /metrics` during the block.

    Args:
        port: `None` to serve nothing.
        refresh: updates the gauges, on the event loop of the caller.
    """
    if port is None:
        yield
        return
    loop = asyncio.get_running_loop()

    async def update_gauges() -> None:
        await refresh()

    def respond(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"There is only GET /metrics.\n"]
        try:
            asyncio.run_coroutine_threadsafe(update_gauges(), loop).result(REFRESH_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - the other metrics are needed all the more
            log.warning("gauges_not_refreshed", error=f"{type(error).__name__}: {error}"[:300])
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
        return [render_metrics()]

    server_class = _ServerOnIpv6 if ":" in host else _Server
    with make_server(host, port, respond, server_class, _QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()

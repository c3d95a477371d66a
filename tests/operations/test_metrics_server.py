"""Metrics on a port of their own."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from tests.conftest import settings_for
from tests.http_server import running_server
from tests.postgres import TestServer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_metrics_are_only_on_their_own_port(server: TestServer, host: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        port = probe.getsockname()[1]
    running = running_server(settings_for(server, host=host, metrics_port=port))
    address = await asyncio.to_thread(running.__enter__)
    try:
        async with httpx.AsyncClient() as http:
            metrics = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            shown = await http.get(f"{metrics}/metrics")
            assert (shown.status_code, "tessera_timers_overdue" in shown.text) == (200, True)
            assert (await http.get(f"{metrics}/tickets")).status_code == 404
            assert (await http.get(f"{address}/metrics")).status_code == 404
            assert (await http.get(f"{address}/health/live")).status_code == 200
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)

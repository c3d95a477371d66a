"""A provider that does not respond keeps no requests waiting but those that call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from app.access.user_permissions import RoleKind
from app.authentication.social.errors import ProviderUnavailable
from app.authentication.social.provider import MAX_CALLS, MAX_WAITING_CALLS, Provider
from app.authentication.social.state import PendingSignIn
from app.core.clock import real_now
from app.core.config import OidcProvider, Settings
from app.core.request_turns import Turn, current_turn
from app.core.turns import ProcessTurns


class HangingProvider:
    """A provider that accepts connections and never responds. `calls` counts the connections."""

    def __init__(self) -> None:
        self.calls = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Provider]:
        async with await asyncio.start_server(self._hang, "127.0.0.1", 0) as server:
            issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield Provider("mock", OidcProvider(issuer=issuer, client_id="x", client_secret=SecretStr("x")))

    async def _hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        while await reader.read(1000):
            pass
        writer.close()
        await writer.wait_closed()

    async def wait_for(self, calls: int) -> None:
        async with asyncio.timeout(10):
            while self.calls < calls:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)


async def start(provider: Provider) -> str:
    pending = PendingSignIn.begin("growfin.com", RoleKind.CUSTOMER, real_now(), remember=False)
    return await provider.authorization_url(pending, "http://tessera.test/callback")


async def cancel(*tasks: asyncio.Task[str]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0.05)  # until the connections are closed


async def test_no_turn_is_held_while_a_provider_does_not_respond() -> None:
    turns, hanging = ProcessTurns.from_settings(Settings(_env_file=None)), HangingProvider()
    turn = Turn(turns, lambda: False)
    assert turn.take(turns.strangers, "192.0.2.1") is None
    current_turn.set(turn)
    async with hanging.running() as provider:
        starting = asyncio.create_task(start(provider))
        await hanging.wait_for(calls=1)
        assert turns.running == 0
        await cancel(starting)
    assert turns.running == 0


async def test_a_provider_that_does_not_respond_gets_a_limited_number_of_calls() -> None:
    hanging = HangingProvider()
    async with hanging.running() as provider:
        starting = [asyncio.create_task(start(provider)) for _ in range(MAX_CALLS + MAX_WAITING_CALLS)]
        await hanging.wait_for(MAX_CALLS)
        with pytest.raises(ProviderUnavailable):
            await asyncio.wait_for(start(provider), 1)
        assert hanging.calls == MAX_CALLS
        await cancel(*starting)

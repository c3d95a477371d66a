"""A scripted provider, and a service that trusts it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.authentication.social.openid import (
    Browser,
    ScriptedProvider,
    provider_settings,
    running_provider,
    running_service,
)
from tests.organisation_client import Desk
from tests.postgres import TestServer
from tests.services import Service, Start


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture(autouse=True)
def scripted(provider: ScriptedProvider) -> ScriptedProvider:
    provider.reset()
    return provider


@pytest.fixture(scope="module")
async def service(server: TestServer, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with running_service(server, scripted=provider.url) as running:
        yield running


@pytest.fixture
def browser(service: Service, desk: Desk) -> Browser:
    return Browser(service, desk, "scripted")


@pytest.fixture
async def fresh(start: Start, desk: Desk, scripted: ScriptedProvider) -> Browser:
    """A browser at a service that has not cached the provider's metadata yet."""
    service = await start(
        oidc_providers={"scripted": provider_settings(scripted.url)}, public_url="http://tessera.test"
    )
    return Browser(service, desk, "scripted")

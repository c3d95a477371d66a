"""A provider that says whatever it is told to, and a service that trusts it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.authentication.social.openid import Browser, OwnProvider, a_service, an_own_provider, settings_of
from tests.desks import Desk
from tests.postgres import TestServer
from tests.services import Service, Start


@pytest.fixture(scope="module")
def provider() -> Iterator[OwnProvider]:
    with an_own_provider() as running:
        yield running


@pytest.fixture(autouse=True)
def own(provider: OwnProvider) -> OwnProvider:
    provider.reset()
    return provider


@pytest.fixture(scope="module")
async def service(server: TestServer, provider: OwnProvider) -> AsyncIterator[Service]:
    async with a_service(server, own=provider.url) as running:
        yield running


@pytest.fixture
def browser(service: Service, desk: Desk) -> Browser:
    return Browser(service, desk, "own")


@pytest.fixture
async def fresh(start: Start, desk: Desk, own: OwnProvider) -> Browser:
    """At a service that knows nothing of the provider yet."""
    service = await start(oidc_providers={"own": settings_of(own.url)}, public_url="http://tessera.test")
    return Browser(service, desk, "own")

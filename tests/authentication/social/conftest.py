"""A third-party OpenID provider, and a service that trusts it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from oidc_provider_mock import run_server_in_thread

from tests.authentication.social.openid import Browser, create_provider_account, running_service
from tests.organisation_client import Desk
from tests.postgres import TestServer
from tests.services import Service


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with run_server_in_thread(require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
async def service(server: TestServer, issuer: str) -> AsyncIterator[Service]:
    async with running_service(server, mock=issuer, twin=issuer) as running:  # two names of the same provider
        yield running


@pytest.fixture
def browser(service: Service, desk: Desk) -> Browser:
    return Browser(service, desk)


@pytest.fixture
async def sub(issuer: str) -> str:
    """The `sub` of an account at the provider with a verified e-mail."""
    return await create_provider_account(issuer, given_name="Mia", family_name="Stone")

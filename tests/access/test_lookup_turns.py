"""Lookups of secret keys wait by network, so that a network with many keys does not keep others waiting."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from asgi_lifespan import LifespanManager

from app.access.credential_cache import CredentialCache
from app.access.services import Services
from app.access.tenant import Tenant
from app.authentication.sessions.queries import find_principal
from app.core.database.pool import Database
from app.core.security.secret_keys import generate_secret_key, hash_secret_key
from app.core.web.edge import Edge
from app.main import create_api
from tests.conftest import settings_for
from tests.postgres import TestServer
from tests.services import Service


async def test_many_keys_of_one_network_do_not_keep_the_key_of_another_waiting(server: TestServer) -> None:
    looked_up: list[bytes] = []

    async def find_tenant(_database: Database, secret_hash: bytes) -> Tenant | None:
        looked_up.append(secret_hash)
        await asyncio.sleep(0.02)
        return None

    settings = settings_for(server, database_pool_size=5)  # one lookup at a time
    api, key = create_api(settings), generate_secret_key()
    async with LifespanManager(api):
        services: Services = api.state.services
        cache = CredentialCache(
            services.database, services.secret_key, find_tenant=find_tenant, find_user=find_principal
        )
        api.state.services = replace(services, credential_cache=cache)
        service = Service(Edge(api, settings, turns=api.state.turns))
        async with service.at("192.0.2.1") as many, service.at("192.0.2.2") as one:
            noise = [many.get("/tickets", headers={"X-Org-Secret": generate_secret_key()}) for _ in range(10)]
            sending = [asyncio.create_task(request) for request in noise]
            while not looked_up:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.001)
            await one.get("/tickets", headers={"X-Org-Secret": key})
            await asyncio.gather(*sending)

    assert looked_up.index(hash_secret_key(key)) <= 2
    assert len(looked_up) == 11

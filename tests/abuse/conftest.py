"""The service on a socket, with a database that only these tests use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
import requests

from tests.conftest import copy_database, settings_for
from tests.dns_server import dns_server_in_thread
from tests.http_server import running_server
from tests.postgres import TestServer


@pytest.fixture(scope="module")
async def address(server: TestServer) -> AsyncIterator[str]:
    name = f"abuse_{uuid4().hex[:8]}"
    await copy_database(server, name)
    with ExitStack() as stack:
        dns_server = stack.enter_context(dns_server_in_thread())
        settings = settings_for(server.at(name), log_level="ERROR", dns_server=dns_server.address)
        yield await asyncio.to_thread(stack.enter_context, running_server(settings))
        await asyncio.to_thread(stack.close)


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@dataclass(frozen=True)
class SignedInCaller:
    """Valid credentials of an organisation and its admin, and the ids of a ticket and a notification."""

    headers: dict[str, str]
    ids: dict[str, str]


@pytest.fixture(scope="module")
def insider(address: str) -> SignedInCaller:
    with httpx.Client(base_url=address) as client:
        domain = f"d{uuid4().hex}.test"
        organisation = {"name": "Growfin", "domain": domain, "sandbox": True}
        headers = {"X-Org-Secret": client.post("/auth/org/signup", json=organisation).json()["secret"]}
        user = {"email": f"ada@{domain}", "password": "cobalt-heron-47-lamp"}
        named = {"firstName": "Ada", "lastName": "Lovelace", **user}
        client.post("/auth/admin/signup", json=named, headers=headers).raise_for_status()
        headers["Authorization"] = f"Bearer {client.post('/auth/admin/signin', json=user).json()['jwt']}"
        body = {"title": "It broke", "description": "All of it.", "addedBy": "mia@customer.example"}
        ticket = client.post("/tickets", json=body, headers=headers).json()
        client.post(f"/tickets/{ticket['id']}/respond", json={"message": "Fixed."}, headers=headers)
        client.post("/org/clock/advance", json={"seconds": 1}, headers=headers).raise_for_status()
        (mail, *_) = client.get("/notifications", headers=headers).json()["items"]
    return SignedInCaller(headers, {"tickets": ticket["id"], "notifications": mail["id"]})

"""Which pages' scripts may call the service."""

from __future__ import annotations

import pytest
from asgi_lifespan import LifespanManager
from httpx import ASGITransport, AsyncClient

from app.main import create_app
from tests.conftest import settings_for
from tests.desks import Desk
from tests.postgres import TestServer

OURS, THEIRS = "https://desk.example.com", "https://evil.example.com"


# A hot operation, another one, and an error.
@pytest.mark.parametrize("path", ["/tickets", "/me", "/nothing"])
async def test_only_those_of_the_configured_origins(server: TestServer, desk: Desk, path: str) -> None:
    app = create_app(settings_for(server, cors_origins=[OURS]))
    async with LifespanManager(app), AsyncClient(transport=ASGITransport(app=app), base_url="http://t") as http:
        ours = await http.get(path, headers=desk.admin.headers | {"Origin": OURS})
        theirs = await http.get(path, headers=desk.admin.headers | {"Origin": THEIRS})
        asked = await http.options(
            path,
            headers={
                "Origin": OURS,
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": "Authorization, If-Match",
            },
        )

    assert ours.headers["access-control-allow-origin"] == OURS
    assert "ETag" in ours.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in theirs.headers
    assert asked.status_code == 200
    assert "PATCH" in asked.headers["access-control-allow-methods"]


async def test_none_where_no_origin_is_configured(desk: Desk) -> None:
    answer = await desk.api.http.get("/tickets", headers=desk.admin.headers | {"Origin": OURS})

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]

"""Cross-origin requests."""

from __future__ import annotations

import pytest
from asgi_lifespan import LifespanManager
from httpx import ASGITransport, AsyncClient

from app.main import create_app
from tests.conftest import settings_for
from tests.organisation_client import Desk
from tests.postgres import TestServer

ALLOWED, OTHER = "https://desk.example.com", "https://evil.example.com"


# An operation that is served without FastAPI (`FastRoutes`), another operation, and an error.
@pytest.mark.parametrize("path", ["/tickets", "/me", "/nothing"])
async def test_only_configured_origins_are_allowed(server: TestServer, desk: Desk, path: str) -> None:
    app = create_app(settings_for(server, cors_origins=[ALLOWED]))
    async with LifespanManager(app), AsyncClient(transport=ASGITransport(app=app), base_url="http://t") as http:
        allowed = await http.get(path, headers=desk.admin.headers | {"Origin": ALLOWED})
        other = await http.get(path, headers=desk.admin.headers | {"Origin": OTHER})
        preflight = await http.options(
            path,
            headers={
                "Origin": ALLOWED,
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": "Authorization, If-Match",
            },
        )

    assert allowed.headers["access-control-allow-origin"] == ALLOWED
    assert "ETag" in allowed.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in other.headers
    assert preflight.status_code == 200
    assert "PATCH" in preflight.headers["access-control-allow-methods"]


async def test_no_origin_is_allowed_by_default(desk: Desk) -> None:
    answer = await desk.api.http.get("/tickets", headers=desk.admin.headers | {"Origin": ALLOWED})

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]

"""Reset a password with a link's token."""

from __future__ import annotations

import httpx

from tests.authentication.account_state import NEW_PASSWORD
from tests.organisation_client import Api
from tests.problems import read_invalid_fields


async def reset(http: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    return await http.post("/auth/password/reset", json={"token": token, "newPassword": password})


async def is_expired(api: Api, token: str) -> bool:
    """Return whether a reset with this token is refused, because the link is not valid."""
    return read_invalid_fields(await reset(api.http, token), "link_expired") == {"token"}

"""What `tessera doctor` finds in the settings alone."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.config import Settings
from app.operations.doctor import check_proxies


@pytest.mark.parametrize(
    ("settings", "is_ok", "detail"),
    [
        ({}, True, "TRUSTED_PROXIES is not set"),
        ({"public_url": "http://tickets.internal"}, True, "TRUSTED_PROXIES is not set"),
        ({"public_url": "https://tickets.growfin.com", "trusted_proxies": "10.0.0.0/8"}, True, "clients behind"),
        ({"public_url": "https://tickets.growfin.com"}, False, "PUBLIC_URL is https, so a proxy terminates TLS, but"),
    ],
)
def test_a_proxy_that_is_not_listed_is_reported(settings: Any, is_ok: bool, detail: str) -> None:
    found = check_proxies(Settings(_env_file=None, **settings))
    assert (found.is_ok, found.check) == (is_ok, "proxies")
    assert found.detail.startswith(detail)

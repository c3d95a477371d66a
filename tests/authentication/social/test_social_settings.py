"""The setting OIDC_PROVIDERS, and the check of providers by `tessera doctor`."""

from __future__ import annotations

import json

import pytest

from app.core.config import InvalidSettings, Settings, is_safe_url, load_settings
from app.operations.doctor import run_checks
from tests.authentication.social.openid import CLIENT_SECRET, provider_settings, running_provider
from tests.conftest import settings_for
from tests.organisation_client import JSON
from tests.postgres import TestServer

SECRET = "s3cret-of-the-client"
GOOGLE = {"issuer": "https://accounts.google.com", "client_id": "tessera", "client_secret": SECRET}


def load(monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    """Load the settings with this value."""
    monkeypatch.setenv("OIDC_PROVIDERS", text)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return load_settings()


def test_there_are_no_providers_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, "").oidc_providers == {}


def test_providers_are_json_and_their_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {**GOOGLE, "issuer": "http://localhost:8080/realms/growfin", "scopes": "openid email"}
    settings = load(monkeypatch, json.dumps({"google": GOOGLE, "other-2": more}))

    google, other = settings.oidc_providers["google"], settings.oidc_providers["other-2"]
    assert (google.issuer, google.client_id, google.scopes) == (GOOGLE["issuer"], "tessera", "openid email profile")
    assert google.client_secret.get_secret_value() == SECRET
    assert other.scopes == "openid email"
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        ({"Google": GOOGLE}, "the name of a provider must be"),
        ({"g" * 33: GOOGLE}, "the name of a provider must be"),
        ({"": GOOGLE}, "the name of a provider must be"),
        ({"google": {**GOOGLE, "issuer": "http://accounts.google.com"}}, "google.issuer: must be https://"),
        ({"google": {**GOOGLE, "issuer": f"https://a:{SECRET}@google.com"}}, "google.issuer: must be https://"),
        ({"google": {**GOOGLE, "issuer": f"https://google.com?{SECRET}"}}, "google.issuer: must be https://"),
        ({"google": {**GOOGLE, "client_secret": ""}}, "google.client_secret"),
        ({"google": {**GOOGLE, "client_secret": [SECRET]}}, "google.client_secret"),
        ({"google": {**GOOGLE, "client_secret": f"{SECRET}\n"}}, "google.client_secret"),
        ({"google": {**GOOGLE, "client_id": f"{SECRET}ä"}}, "google.client_id"),
        ({"google": {**GOOGLE, "scopes": "email"}}, "google.scopes: must include openid"),
        ({"google": {**GOOGLE, "colour": SECRET}}, "google.colour"),
        ({"google": {"issuer": GOOGLE["issuer"], "client_secret": SECRET}}, "google.client_id"),
        ({"google": SECRET}, "google: "),
        ([SECRET], "JSON object"),
    ],
)
def test_an_invalid_provider_is_reported_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, providers: JSON, expected: str
) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load(monkeypatch, json.dumps(providers))

    text = str(caught.value)
    assert text.startswith("OIDC_PROVIDERS: ")
    assert expected in text
    assert SECRET not in text
    assert "\n" not in text


@pytest.mark.parametrize("text", [f'{{"google": "{SECRET}', "[" * 100_000, "7", SECRET])
def test_invalid_json_is_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^OIDC_PROVIDERS: must be a JSON object") as caught:
        load(monkeypatch, text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://accounts.google.com", True),
        ("http://localhost:8080/x", True),
        ("http://127.0.0.2", True),
        ("http://[::1]:80", True),
        ("http://192.0.2.1", False),
        ("http://localhost.growfin.test", False),
        ("https://", False),
        ("https://growfin.test:99999", False),
        ("ftp://localhost", False),
        ("//localhost", False),
        ("http://[::1", False),
    ],
)
def test_only_https_and_loopback_urls_are_safe(url: str, is_safe: bool) -> None:
    assert is_safe_url(url) is is_safe


async def test_the_doctor_checks_the_metadata_of_each_provider(server: TestServer) -> None:
    with running_provider() as scripted:
        scripted.metadata = {"jwks_uri": None}
        providers = {
            "broken": provider_settings(scripted.url),
            "down": provider_settings("http://127.0.0.1:9"),
            "lost": provider_settings(f"{scripted.url}/nowhere"),
        }
        found = {one.check: one for one in await run_checks(settings_for(server, oidc_providers=providers))}
        scripted.reset()
        passed = await run_checks(settings_for(server, oidc_providers={"valid": provider_settings(scripted.url)}))

    assert {"provider valid": True}.items() <= {one.check: one.is_ok for one in passed}.items()
    assert not any(found[f"provider {name}"].is_ok for name in providers)
    assert "publishes invalid metadata: jwks_uri" in found["provider broken"].detail
    assert "does not respond: ConnectError" in found["provider down"].detail
    assert "responds with status 404" in found["provider lost"].detail
    assert not any(CLIENT_SECRET in one.detail for one in found.values())

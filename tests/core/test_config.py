"""Settings: where they are read from, and how an invalid value is reported."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.core.config import InvalidSettings, Settings, load_or_create_secret_key, load_settings, parse_address

STRONG_KEY = "9vWq0Zx2Lr8Tn5Yb3Kc7Hd1Mf6Pg4Js-Uoea"
DATABASE_URL = "postgresql://tessera:pw@db.internal:5432/tessera"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without any of Tessera's settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_error(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert caught.value.__suppress_context__, "a traceback would show the values"
    return str(caught.value)


def load_with(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_every_setting_has_a_default() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert (settings.host, settings.port, settings.worker) == ("127.0.0.1", 8000, "inline")
    assert settings.trusted_proxies == settings.cors_origins == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://root@localhost/x"),
        ("DATABASE_URL", "localhost:5432"),
        ("DATABASE_URL", "postgresql://u:p@host:port/db"),
        ("MIGRATIONS_DATABASE_URL", "sqlite:///x.db"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "80\n80"),
        ("WEB_WORKERS", "many"),
        ("WORKER", "maybe"),
        ("SECRET_KEY", "short"),
        ("ORG_SIGN_UP", "maybe"),
        ("ORG_SIGN_UP_TOKEN", "too-short"),
        ("UNPROVED_MAIL_LIMIT", "-1"),
        ("ADDRESS_MAIL_LIMIT", "0/hour"),
        ("DNS_SERVER", "dns.growfin.com"),
        ("DNS_SERVER", "127.0.0.1:0"),
        ("DNS_SERVER", "127.0.0.1:"),
        ("DNS_SERVER", "[::1"),
        ("PUBLIC_URL", "desk.example.com"),
        ("SMTP_URL", "mail.example.com:25"),
        ("SMTP_URL", "smtp://mail.example.com:25/?starttls=perhaps"),
        ("SMTP_URL", "smtp://mail.example.com:smtp"),
        ("MAIL_FROM", "no-address"),
        ("MAIL_FROM", "a@b.example\nBcc: c@d.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy.internal"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://desk.example.com/app"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("REDIS_URL", "localhost:6379"),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_TIMEOUT", "-1"),
        ("STATEMENT_TIMEOUT", "nan"),
        ("MAX_BODY_BYTES", "12"),
        ("BODY_TIMEOUT", "inf"),
        ("MAX_CONCURRENT_REQUESTS", "1e3.5"),
        ("SIGN_UP_LIMIT", "5 per fortnight"),
        ("SIGN_IN_LIMIT", "often\nand again"),
        ("SIGN_IN_FAILURE_LIMIT", "-3/minute"),
        ("ACCOUNT_FAILURE_LIMIT", "ten/hour"),
    ],
)
def test_an_invalid_value_is_reported_in_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    line = settings_error(monkeypatch, **{name: value})
    assert line.startswith(f"{name}: ")
    assert len(line) > len(f"{name}: ")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://root:hunter2@localhost/x"),
        ("DATABASE_URL", "postgresql://root:hun@hunter2:x/db"),
        ("SMTP_URL", "smtp://root:hunter2]@[mail"),
        ("SMTP_URL", "smtp://root:#hunter2@mail:25"),
        ("REDIS_URL", "http://:hunter2@cache"),
        ("SECRET_KEY", "hunter2"),
    ],
)
def test_error_messages_contain_no_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert "hunter2" not in settings_error(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SESSION_MAX_DAYS", "abc", "must be a whole number"),
        ("SESSION_MAX_DAYS", "1.5", "must be a whole number"),
        ("SESSION_MAX_DAYS", "0", "must be at least 1"),
        ("PORT", "70000", "must be at most 65535"),
        ("STATEMENT_TIMEOUT", "soon", "must be a number"),
        ("ORG_POOL_SHARE", "0", "must be more than 0"),
        ("BODY_TIMEOUT", "601", "must be at most 600"),
        ("WORKER", "maybe", "must be 'inline' or 'off'"),
        ("ORG_SIGN_UP_TOKEN", "too-short", "must have at least 16 characters"),
        ("TRUSTED_PROXIES", "proxy.internal", "must be addresses or networks such as 10.0.0.0/8, separated by commas"),
        ("SIGN_UP_LIMIT", "often", "must be one positive rate, such as 10/minute or 10/5 minutes"),
        ("OIDC_PROVIDERS", '{"google": {}}', "google.issuer: is required"),
        ("OIDC_PROVIDERS", '{"google": 1}', "google: must be a JSON object"),
    ],
)
def test_the_message_is_in_the_words_of_the_service(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    assert settings_error(monkeypatch, **{name: value}).lower() == f"{name}: {message}".lower()


class TestSecretKey:
    @pytest.mark.parametrize(
        "key",
        [
            "k" * 31,
            "x" * 64,
            "abab" * 16,
            "change-me-" * 5 + STRONG_KEY,
            f"your-{STRONG_KEY}",
            f"Sample{STRONG_KEY}",
            f"MY-SECRET-KEY-{STRONG_KEY}",
        ],
    )
    def test_short_repetitive_and_sample_keys_are_rejected(self, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
        line = settings_error(monkeypatch, DATABASE_URL=DATABASE_URL, SECRET_KEY=key)
        assert line.startswith("SECRET_KEY: ")
        assert key not in line

    @pytest.mark.parametrize("key", [None, ""])
    def test_an_external_database_requires_a_secret_key(self, monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
        environment = {} if key is None else {"SECRET_KEY": key}
        assert settings_error(monkeypatch, DATABASE_URL=DATABASE_URL, **environment).startswith("SECRET_KEY: required")

    def test_a_strong_key_is_used_unchanged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert load_with(monkeypatch, DATABASE_URL=DATABASE_URL, SECRET_KEY=STRONG_KEY).secret_key == STRONG_KEY

    def test_the_embedded_key_is_created_once_and_readable_by_its_owner_only(self, folder: Path) -> None:
        data_dir = folder / "a" / "b"
        key = load_or_create_secret_key(data_dir)
        assert load_or_create_secret_key(data_dir) == key
        assert Settings(database_url=DATABASE_URL, secret_key=key).secret_key == key
        assert [file.name for file in data_dir.iterdir()] == ["secret_key"]
        assert stat.S_IMODE((data_dir / "secret_key").stat().st_mode) == 0o600
        assert load_or_create_secret_key(folder / "another") != key

    def test_a_half_written_key_is_not_used(self, folder: Path) -> None:
        (folder / "secret_key.draft").write_text("half")
        assert len(load_or_create_secret_key(folder)) == 64


class TestDatabaseUrl:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
    def test_every_common_scheme_selects_asyncpg(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        settings = load_with(monkeypatch, DATABASE_URL=f"{scheme}://u:p%40w@db/x", SECRET_KEY=STRONG_KEY)
        assert settings.database_url == "postgresql+asyncpg://u:p%40w@db/x"

    def test_sslmode_is_passed_to_the_driver_as_ssl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load_with(monkeypatch, DATABASE_URL="postgres://u@db/x?sslmode=require", SECRET_KEY=STRONG_KEY)
        assert settings.database_url == "postgresql+asyncpg://u@db/x?ssl=require"


class TestLists:
    def test_lists_are_separated_by_commas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load_with(monkeypatch, CORS_ORIGINS="https://a.example, http://b.example:3000,")
        assert settings.cors_origins == ["https://a.example", "http://b.example:3000"]

    def test_a_network_may_be_given_by_any_address_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load_with(monkeypatch, TRUSTED_PROXIES="10.1.2.3/8,192.0.2.1,2001:db8::1/32")
        assert settings.trusted_proxies == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]


class TestDotEnv:
    def test_dot_env_is_read_and_the_environment_wins(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").write_text("# comment\nPORT=9001\nHOST='0.0.0.0'\nLOG_FORMAT=\nSOMETHING_ELSE=1\n")
        settings = load_with(monkeypatch, PORT="9002")
        assert (settings.port, settings.host) == (9002, "0.0.0.0")
        assert settings.log_format == "console", "an empty value counts as unset"

    def test_an_invalid_value_in_dot_env_is_reported(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").write_text("PORT=eighty\n")
        assert settings_error(monkeypatch).startswith("PORT: ")

    def test_a_binary_dot_env_is_reported_in_one_line(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").write_bytes(b"PORT=\xff\xfe80\n")
        line = settings_error(monkeypatch)
        assert line.startswith(".env ")
        assert len(line.splitlines()) == 1


def test_links_start_with_the_public_url_without_a_trailing_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().base_url == "http://127.0.0.1:8000"
    assert load_with(monkeypatch, PUBLIC_URL="https://desk.example.com/").base_url == "https://desk.example.com"


def test_a_sign_up_with_a_token_needs_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_error(monkeypatch, ORG_SIGN_UP="token") == ("ORG_SIGN_UP_TOKEN: required with ORG_SIGN_UP=token")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.53", ("127.0.0.53", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_the_address_of_a_name_server_may_have_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, 53) == address

"""Settings: what is read from where, and how a value that cannot work stops the start."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.core.config import InvalidSettings, Settings, kept_secret_key, load_settings

GOOD_KEY = "9vWq0Zx2Lr8Tn5Yb3Kc7Hd1Mf6Pg4Js-Uoea"
DATABASE_URL = "postgresql://tessera:pw@db.internal:5432/tessera"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and an environment without any of our settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert refused.value.__suppress_context__, "a traceback would show the values"
    return str(refused.value)


def loaded(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_everything_has_a_default() -> None:
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
        ("PUBLIC_URL", "desk.example.com"),
        ("SMTP_URL", "mail.example.com:25"),
        ("SMTP_URL", "smtp://mail.example.com:25/?starttls=perhaps"),
        ("SMTP_URL", "smtp://mail.example.com:smtp"),
        ("MAIL_FROM", "nobody"),
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
def test_a_value_that_cannot_work_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    line = refusal(monkeypatch, **{name: value})
    assert line.startswith(f"{name}: ")
    assert len(line) > len(name) + 2
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
def test_what_is_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert "hunter2" not in refusal(monkeypatch, **{name: value})


class TestSecretKey:
    @pytest.mark.parametrize(
        "key",
        [
            "k" * 31,
            "x" * 64,
            "abab" * 16,
            "change-me-" * 5 + GOOD_KEY,
            f"your-{GOOD_KEY}",
            f"Sample{GOOD_KEY}",
            f"MY-SECRET-KEY-{GOOD_KEY}",
        ],
    )
    def test_a_short_a_dull_and_a_sample_one_are_refused(self, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
        line = refusal(monkeypatch, DATABASE_URL=DATABASE_URL, SECRET_KEY=key)
        assert line.startswith("SECRET_KEY: ")
        assert key not in line

    @pytest.mark.parametrize("key", [None, ""])
    def test_a_database_of_ones_own_needs_one(self, monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
        given = {} if key is None else {"SECRET_KEY": key}
        assert refusal(monkeypatch, DATABASE_URL=DATABASE_URL, **given).startswith("SECRET_KEY: required")

    def test_a_good_one_is_taken_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert loaded(monkeypatch, DATABASE_URL=DATABASE_URL, SECRET_KEY=GOOD_KEY).secret_key == GOOD_KEY

    def test_the_embedded_one_is_made_once_and_kept_from_others(self, folder: Path) -> None:
        data_dir = folder / "a" / "b"
        key = kept_secret_key(data_dir)
        assert kept_secret_key(data_dir) == key
        assert Settings(database_url=DATABASE_URL, secret_key=key).secret_key == key
        assert [file.name for file in data_dir.iterdir()] == ["secret_key"]
        assert stat.S_IMODE((data_dir / "secret_key").stat().st_mode) == 0o600
        assert kept_secret_key(folder / "another") != key

    def test_one_that_was_half_written_when_the_process_died_is_not_used(self, folder: Path) -> None:
        (folder / "secret_key.draft").write_text("half")
        assert len(kept_secret_key(folder)) == 64


class TestDatabaseUrl:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
    def test_every_usual_name_means_the_one_driver(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        settings = loaded(monkeypatch, DATABASE_URL=f"{scheme}://u:p%40w@db/x", SECRET_KEY=GOOD_KEY)
        assert settings.database_url == "postgresql+asyncpg://u:p%40w@db/x"

    def test_how_much_tls_is_asked_for_reaches_the_driver_under_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = loaded(monkeypatch, DATABASE_URL="postgres://u@db/x?sslmode=require", SECRET_KEY=GOOD_KEY)
        assert settings.database_url == "postgresql+asyncpg://u@db/x?ssl=require"


class TestLists:
    def test_they_are_separated_by_commas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = loaded(monkeypatch, CORS_ORIGINS="https://a.example, http://b.example:3000,")
        assert settings.cors_origins == ["https://a.example", "http://b.example:3000"]

    def test_a_proxys_network_may_be_written_by_any_address_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = loaded(monkeypatch, TRUSTED_PROXIES="10.1.2.3/8,192.0.2.1,2001:db8::1/32")
        assert settings.trusted_proxies == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]


class TestDotEnv:
    def test_it_is_read_and_the_environment_wins(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").write_text("# ours\nPORT=9001\nHOST='0.0.0.0'\nLOG_FORMAT=\nSOMETHING_ELSE=1\n")
        settings = loaded(monkeypatch, PORT="9002")
        assert (settings.port, settings.host) == (9002, "0.0.0.0")
        assert settings.log_format == "console", "an empty value is none"

    def test_a_wrong_value_in_it_is_named_too(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").write_text("PORT=eighty\n")
        assert refusal(monkeypatch).startswith("PORT: ")

    def test_one_that_is_not_text_is_one_line_as_well(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").write_bytes(b"PORT=\xff\xfe80\n")
        line = refusal(monkeypatch)
        assert line.startswith(".env ")
        assert len(line.splitlines()) == 1


def test_links_start_with_the_public_address_without_a_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().url == "http://127.0.0.1:8000"
    assert loaded(monkeypatch, PUBLIC_URL="https://desk.example.com/").url == "https://desk.example.com"

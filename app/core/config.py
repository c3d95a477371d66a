"""The settings of a deployment, read from the environment or from `.env`."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from limits import parse_many as parse_limits
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.core.key_strength import find_secret_key_weakness

DNS_PORT = 53


class InvalidSettings(Exception):
    """A setting has an invalid value. The message is one line that names the setting."""


_WHOLE_NUMBER = "must be a whole number"
_NUMBER = "must be a number"
# By pydantic's type of fault, filled in with its context.
_MESSAGES = {
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_type": "must be a text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "too_short": "must have at least {min_length} characters",
    "too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "must consist of printable ASCII characters",
    "missing": "is required",
    "extra_forbidden": "is not known",
    "model_type": "must be a JSON object",
}


def _describe(fault: ErrorDetails) -> str:
    """Return what is wrong with a value, in one line without the value itself."""
    if fault["type"] == "value_error":
        return " ".join(fault["msg"].removeprefix("Value error, ").split())
    limits = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in fault.get("ctx", {}).items()
    }
    return _MESSAGES.get(fault["type"], "is not valid").format_map(limits)


# RFC 6749, appendix A: the characters of client ids and secrets.
_VisibleAscii = StringConstraints(pattern=r"^[\x20-\x7e]+$", max_length=1000)


class OidcProvider(BaseModel):
    """An OpenID Connect provider, and the credentials of this service there."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: Annotated[str, _VisibleAscii]
    client_id: Annotated[str, _VisibleAscii]
    client_secret: SecretStr = Field(min_length=1, max_length=1000)
    scopes: Annotated[str, _VisibleAscii] = "openid email profile"

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, value: str) -> str:
        if not is_safe_url(value) or not set(value).isdisjoint("?#@ "):
            raise ValueError("must be https:// (or http:// to this machine), without a query or a user")
        return value

    @field_validator("client_secret")
    @classmethod
    def _check_client_secret(cls, value: SecretStr) -> SecretStr:
        if not all(" " <= character <= "~" for character in value.get_secret_value()):
            raise ValueError("must consist of printable ASCII characters")
        return value

    @field_validator("scopes")
    @classmethod
    def _check_scopes(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must include openid")
        return value


_PROVIDER_NAME = re.compile(r"[a-z0-9-]{1,32}")


class Settings(BaseSettings):
    """The settings. Each field is the environment variable of the same name in upper case; see `.env.example`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    database_url: str | None = None
    migrations_database_url: str | None = None
    data_dir: Path = Path(".data")
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    web_workers: int = Field(1, ge=1, le=64)
    worker: Literal["inline", "off"] = "inline"  # inline: in the web process
    secret_key: str | None = None
    public_url: str | None = None
    smtp_url: str | None = None
    smtp_connections: int = Field(4, ge=1, le=100)
    mail_from: str = "Tessera <tessera@localhost>"
    trusted_proxies: Annotated[list[str], NoDecode] = []
    cors_origins: Annotated[list[str], NoDecode] = []
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    redis_url: str | None = None
    oidc_providers: Annotated[dict[str, OidcProvider], NoDecode] = {}

    database_pooler: Literal["none", "transaction"] = "none"  # transaction: PgBouncer with pool_mode = transaction
    database_pool_size: int = Field(10, ge=1, le=200)
    database_pool_timeout: float = Field(5.0, gt=0, le=60, description="seconds")
    statement_timeout: float = Field(10.0, gt=0, le=600, description="seconds")
    max_body_bytes: int = Field(1_048_576, ge=1024, le=104_857_600)
    body_timeout: float = Field(30.0, gt=0, le=600, description="seconds")
    header_timeout: float = Field(20.0, gt=0, le=600, description="seconds")
    keep_alive: int = Field(75, ge=1, le=3600, description="seconds")
    max_buffered_bytes: int = Field(67_108_864, ge=1024, le=17_179_869_184)
    max_concurrent_requests: int = Field(1024, ge=1, le=100_000)
    org_pool_share: float = Field(0.2, gt=0, le=1)  # of DATABASE_POOL_SIZE, for the requests of one organisation
    org_queue_size: int = Field(100, ge=0, le=100_000)
    org_queue_timeout: float = Field(5.0, gt=0, le=60, description="seconds")
    shutdown_timeout: int = Field(4, ge=1, le=60, description="seconds")

    org_sign_up: Literal["open", "closed", "token"] = "open"
    org_sign_up_token: SecretStr | None = Field(None, min_length=16, max_length=200)
    unproved_mail_limit: int = Field(0, ge=0, le=1_000_000)  # outside addresses in 24 hours; 0: no limit
    dns_server: str | None = None

    sign_up_limit: str = "300/minute"
    sign_in_limit: str = "300/minute"
    sign_in_failure_limit: str = "10/5 minutes"
    account_failure_limit: str = "300/hour"
    second_factor_limit: str = "5/5 minutes"
    mail_limit: str = "50/15 minutes"  # mails that clients of one network cause to one e-mail address
    address_mail_limit: str = "200/hour"  # the same of all networks, to accounts that have not verified the address
    session_max_days: int = Field(90, ge=1, le=3650)
    delivered_retention_days: int = Field(90, ge=1, le=3650)
    metrics_port: int | None = Field(None, ge=1, le=65535)  # of the web processes
    worker_metrics_port: int | None = Field(None, ge=1, le=65535)

    @field_validator("trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _normalise_networks(cls, value: list[str]) -> list[str]:
        # uvicorn accepts 10.0.0.0/8 as a network, but would treat 10.1.2.3/8 as a host name.
        try:
            return [str(ipaddress.ip_network(network, strict=False)) for network in value]
        except ValueError:
            raise ValueError("must be addresses or networks such as 10.0.0.0/8, separated by commas") from None

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query:
                raise ValueError(f"{origin!r} is not an origin such as https://desk.example.com")
        return value

    @field_validator("database_url", "migrations_database_url")
    @classmethod
    def _normalise_database_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
            raise ValueError("must be postgresql://user:password@host:port/database")
        try:
            url = make_url(f"postgresql+asyncpg://{rest}")
        except (ArgumentError, ValueError):  # the error would quote a part of the password
            raise ValueError("the host or port is invalid; percent-encode user and password") from None
        # libpq's sslmode is called ssl by asyncpg.
        query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
        return url.set(query=query).render_as_string(hide_password=False)

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:  # the error would quote a part of the password
            raise ValueError("the host or port is invalid; percent-encode user and password") from None
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("must be smtp://user:password@host:port or smtps://…")
        options = parse_qs(parts.query, keep_blank_values=True)
        if options.pop("starttls", ["required"]) != ["required"] or options or parts.path not in {"", "/"}:
            raise ValueError("the only supported option is ?starttls=required")
        if parts.fragment:  # an unencoded # in the password starts a fragment
            raise ValueError("percent-encode user and password")
        return value

    @field_validator(
        "sign_up_limit",
        "sign_in_limit",
        "sign_in_failure_limit",
        "account_failure_limit",
        "second_factor_limit",
        "mail_limit",
        "address_mail_limit",
    )
    @classmethod
    def _check_rate(cls, value: str) -> str:
        try:
            rates = parse_limits(value)
        except ValueError:
            rates = []
        if len(rates) != 1 or rates[0].amount < 1 or rates[0].get_expiry() < 1 or "/0" in value.replace(" ", ""):
            raise ValueError("must be one positive rate, such as 10/minute or 10/5 minutes")
        return value

    @field_validator("dns_server")
    @classmethod
    def _check_dns_server(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_address(value, DNS_PORT)
            except ValueError:
                raise ValueError("must be an address such as 127.0.0.53, 127.0.0.1:5353 or [::1]:53") from None
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://")):
            raise ValueError("must be redis://host:port/0 or rediss://…")
        return value

    @field_validator("oidc_providers", mode="before")
    @classmethod
    def _parse_providers(cls, value: object) -> object:
        try:
            providers = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            providers = None
        if not isinstance(providers, dict):  # the value holds secrets, so the message does not repeat it
            raise ValueError('must be a JSON object such as {"google": {"issuer": "https://…", …}}')  # noqa: TRY004
        for name, provider in providers.items():
            if not _PROVIDER_NAME.fullmatch(name):
                raise ValueError("the name of a provider must be 1 to 32 of the characters a-z, 0-9 and -")
            try:
                OidcProvider.model_validate(provider)
            except ValidationError as error:
                first = error.errors(include_input=False)[0]
                path = ".".join(str(part)[:32] for part in (name, *first["loc"]))
                raise ValueError(f"{path}: {_describe(first)}") from None
        return providers

    @field_validator("public_url")
    @classmethod
    def _normalise_public_url(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith(("http://", "https://")) and urlsplit(value).hostname):
            raise ValueError("must be http://… or https://…")
        return value.rstrip("/") if value else None

    @field_validator("mail_from")
    @classmethod
    def _check_mail_from(cls, value: str) -> str:
        if "@" not in value or any(c < " " for c in value):
            raise ValueError('must be an address such as "Desk <desk@example.com>"')
        return value

    @model_validator(mode="after")
    def _check_sign_up_token(self) -> Settings:
        if self.org_sign_up == "token" and self.org_sign_up_token is None:
            raise ValueError("ORG_SIGN_UP_TOKEN: required with ORG_SIGN_UP=token")
        return self

    @model_validator(mode="after")
    def _check_secret_key(self) -> Settings:
        if self.secret_key is None:
            if self.database_url is not None:
                raise ValueError("SECRET_KEY: required with DATABASE_URL (32 random bytes or more)")
        elif weakness := find_secret_key_weakness(self.secret_key):
            raise ValueError(f"SECRET_KEY: {weakness}")
        return self

    @property
    def has_transaction_pooler(self) -> bool:
        """Whether a pooler lends connections to the database for one transaction at a time."""
        return self.database_pooler == "transaction"

    @property
    def session_max_age(self) -> timedelta:
        """How long a session lasts at most, however often it is refreshed."""
        return timedelta(days=self.session_max_days)

    @property
    def base_url(self) -> str:
        """The base URL of links in mails."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def mail_dir(self) -> Path:
        """The folder for mails as `.eml` files, used without `SMTP_URL`."""
        return self.data_dir / "mail"


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Return the IP address and the port of `address`, `address:port` or `[address]:port`.

    Raises:
        ValueError
    """
    host, separator, port = text.rpartition(":")
    if not separator or (":" in host and not host.startswith("[")):  # an IPv6 address has colons of its own
        host, port = text, str(default_port)
    address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    if not (port.isascii() and port.isdecimal()) or int(port) not in range(1, 65_536):
        raise ValueError("the port must be between 1 and 65535")
    return str(address), int(port)


def is_safe_url(url: str) -> bool:
    """Return whether the connection cannot be read by others: `https`, or `http` to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme == "http" and host:
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
    return parts.scheme == "https" and bool(host)


def load_settings() -> Settings:
    """Read and validate the settings.

    Raises:
        InvalidSettings: A value is invalid. The message names the first such variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else ""
        message = _describe(first)
        raise InvalidSettings(f"{name}: {message}" if name else message) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f".env cannot be read: {error}") from None


def load_or_create_secret_key(data_dir: Path) -> str:
    """Return the secret key stored in `data_dir`, creating it on first use; for the embedded database only."""
    path = data_dir / "secret_key"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        # Written to a draft and renamed: a process killed half-way must not leave half a key.
        draft = data_dir / "secret_key.draft"
        draft.touch(mode=0o600)
        draft.write_text(base64.b64encode(secrets.token_bytes(48)).decode())
        draft.replace(path)
    return path.read_text().strip()

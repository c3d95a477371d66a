"""`tessera doctor`: what a deployment needs, looked at from where the service runs and as whom it connects."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from aiosmtplib import SMTPException, SMTPResponseException
from sqlalchemy import DateTime, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.authentication.social.provider import read_metadata
from app.authentication.social.rules import NotIdentified
from app.core.clock import real_now
from app.core.config import OidcProvider, Settings, secret_key_weakness
from app.core.database import migrations
from app.core.database.base import DIRECTORY_TABLES, TENANT_TABLES_WITHOUT_RLS
from app.core.database.pool import Database
from app.notifications.channel import email_channel
from app.notifications.mime import one_line
from app.notifications.smtp import Server
from app.operations.queries import schema_revision

OLDEST_POSTGRESQL = 15
MAX_SKEW = 2.0  # seconds
SMTP_TIME = 10.0  # seconds for the greeting, encryption and sign-in together
ERROR_LENGTH = 200  # characters


@dataclass(frozen=True)
class Finding:
    """One check. Where it is not good, `detail` ends with what to do."""

    good: bool
    what: str
    detail: str


Check = Callable[[AsyncSession], Awaitable[Finding]]


_VERSION = text(
    "SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_database()"
)
_ROLE = text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
_TENANT_TABLES = text(
    """
    SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND a.attname = 'org_id' AND NOT a.attisdropped
    ORDER BY c.relname
    """
)


async def examine(settings: Settings) -> list[Finding]:
    """Make every check; no finding holds a password or the key."""
    assert settings.database_url is not None
    return [
        *await examine_database(settings.database_url),
        await _examine_mail(settings),
        *[await _examine_provider(name, one) for name, one in settings.oidc_providers.items()],
        _examine_secret_key(settings.secret_key),
    ]


# --- the database ----------------------------------------------------------------------------------------------------


async def examine_database(url: str) -> list[Finding]:
    """Make the checks that concern the database; the first says whether it can be reached at all."""
    try:
        database = Database(url, pool_size=1)
        secrets = _secrets_of(url)
    except (ArgumentError, ValueError):  # their texts may repeat the password
        return _unreachable("DATABASE_URL cannot be read", "write postgresql://user:password@host:port/database")
    try:
        return await _examine_open(database, secrets)
    finally:
        await database.dispose()


async def _examine_open(database: Database, secrets: list[str]) -> list[Finding]:
    try:
        async with database.session(None) as db:
            version = await _examine_version(db)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from answering is the finding
        return _unreachable(f"cannot be reached ({_said(error, secrets)})", "start it, or correct DATABASE_URL")
    return [version, *[await _ask(database, what, check, secrets) for what, check in CHECKS.items()]]


def _unreachable(fact: str, remedy: str) -> list[Finding]:
    skipped = "not checked, for want of a database: put that right first"
    return [Finding(False, "database", f"{fact}: {remedy}"), *(Finding(False, what, skipped) for what in CHECKS)]


async def _ask(database: Database, what: str, check: Check, secrets: list[str]) -> Finding:
    """Make a check in a transaction of its own, so that one which fails spoils no other."""
    try:
        async with database.session(None) as db:
            return await check(db)
    except (DBAPIError, OSError) as error:
        remedy = "run `tessera migrate`, which also grants the service's role what it needs"
        return Finding(False, what, f"cannot be read ({_said(error, secrets)}): {remedy}")


async def _examine_version(db: AsyncSession) -> Finding:
    number, version, name = (await db.execute(_VERSION)).one()
    found = f"PostgreSQL {version}, database {name}"
    if number // 10_000 < OLDEST_POSTGRESQL:
        return Finding(False, "database", f"{found}: upgrade it to PostgreSQL {OLDEST_POSTGRESQL} or newer")
    return Finding(True, "database", found)


async def _examine_role(db: AsyncSession) -> Finding:
    name, is_super, bypasses = (await db.execute(_ROLE)).one()
    if is_super or bypasses:
        power = "is a superuser" if is_super else "has BYPASSRLS"
        return Finding(
            False,
            "role",
            f"{name} {power}, so organisations are not kept apart: let DATABASE_URL name a role that is neither "
            "superuser nor BYPASSRLS (and MIGRATIONS_DATABASE_URL the tables' owner)",
        )
    return Finding(True, "role", f"{name} is neither superuser nor BYPASSRLS")


async def _examine_migrations(db: AsyncSession) -> Finding:
    found, needed = await schema_revision(db), migrations.head_revision()
    if found != needed:
        return Finding(
            False,
            "migrations",
            f"the database is at {found or 'no revision'} and this version needs {needed}: run `tessera migrate`, or "
            "run the newer version if the database is ahead",
        )
    return Finding(True, "migrations", f"at {found}, which this version needs")


async def _examine_row_security(db: AsyncSession) -> Finding:
    exempt = TENANT_TABLES_WITHOUT_RLS | DIRECTORY_TABLES
    tables = [(name, safe) for name, safe in await db.execute(_TENANT_TABLES) if name not in exempt]
    if not tables:
        return Finding(False, "row security", "there are no tenant tables: run `tessera migrate`")
    if lacking := [name for name, safe in tables if not safe]:
        return Finding(
            False,
            "row security",
            f"not enabled and forced on {', '.join(lacking)}: as the owner, ALTER TABLE each of them "
            "ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        )
    return Finding(True, "row security", f"enabled and forced on all {len(tables)} tenant tables")


async def _examine_clock(db: AsyncSession) -> Finding:
    # The quickest answer of three is the least blurred; the first one waits for its statement to be prepared.
    _, skew = min([await _measure_skew(db) for _ in range(3)])
    found = f"{abs(skew.total_seconds()):.3f} s {'ahead of' if skew < timedelta(0) else 'behind'} the database's"
    if abs(skew.total_seconds()) >= MAX_SKEW:
        return Finding(False, "clock", f"{found}: let both machines keep time by NTP")
    return Finding(True, "clock", found)


async def _measure_skew(db: AsyncSession) -> tuple[timedelta, timedelta]:
    """The round trip, and how far the database's clock is ahead of this one."""
    before = real_now()
    theirs = (await db.execute(select(func.clock_timestamp(type_=DateTime(timezone=True))))).scalar_one()
    took = real_now() - before
    return took, theirs - before - took / 2


CHECKS: dict[str, Check] = {
    "role": _examine_role,
    "migrations": _examine_migrations,
    "row security": _examine_row_security,
    "clock": _examine_clock,
}


def _secrets_of(url: str) -> list[str]:
    parts = make_url(url)
    return [secret for secret in (parts.password, parts.query.get("password")) if isinstance(secret, str) and secret]


def _said(error: Exception, secrets: list[str]) -> str:
    """What the server or the system said, in one line."""
    if isinstance(error, DBAPIError):
        error = getattr(error.orig, "__cause__", None) or error
    said = one_line(str(error).partition("\n")[0]) or type(error).__name__
    for secret in secrets:
        said = said.replace(secret, "***")
    return said[:ERROR_LENGTH]


# --- mail ------------------------------------------------------------------------------------------------------------


async def _examine_mail(settings: Settings) -> Finding:
    try:
        email_channel(smtp_url=settings.smtp_url, mail_from=settings.mail_from, mail_dir=settings.mail_dir)
    except ValueError as error:
        return Finding(False, "mail", f"{one_line(str(error))}: correct MAIL_FROM or SMTP_URL")
    if settings.smtp_url is None:
        return await asyncio.to_thread(_examine_folder, settings.mail_dir)
    return await _examine_server(Server.at(settings.smtp_url))


def _examine_folder(folder: Path) -> Finding:
    found = f"without SMTP_URL, mails are written to {folder}"
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        remedy = "let the service write there, or set SMTP_URL"
        return Finding(False, "mail", f"{found}, which cannot be done ({error.strerror}): {remedy}")
    return Finding(True, "mail", found)


async def _examine_server(server: Server) -> Finding:
    place = f"{server.host}:{server.port}"
    try:
        async with asyncio.timeout(SMTP_TIME):
            client = await server.connect(SMTP_TIME)
        encrypted = client.get_transport_info("ssl_object") is not None
        with suppress(SMTPException, OSError):
            await client.quit()
    except (SMTPException, OSError, ValueError) as error:
        said = f"cannot be used ({error or type(error).__name__})"
        if isinstance(error, SMTPResponseException):
            said = f"answered {error.code} {error.message}"
        said = one_line(server.mask_secrets(said))[:ERROR_LENGTH]
        return Finding(False, "mail", f"{place} {said}: correct SMTP_URL, or see to that server")
    manner = f"{'' if encrypted else 'un'}encrypted{', and lets us sign in' if server.user else ''}"
    return Finding(True, "mail", f"{place} greets us, {manner}")


# --- social sign-in --------------------------------------------------------------------------------------------------


async def _examine_provider(name: str, provider: OidcProvider) -> Finding:
    what = f"provider {name}"
    try:
        await read_metadata(provider.issuer)
    except NotIdentified as error:
        remedy = "correct its issuer in OIDC_PROVIDERS, or see to that provider"
        return Finding(False, what, f"{provider.issuer} {error}: {remedy}")
    return Finding(True, what, f"{provider.issuer} says where users sign in")


# --- the key ---------------------------------------------------------------------------------------------------------


def _examine_secret_key(key: str | None) -> Finding:
    remedy = "make one with `openssl rand -base64 48`"
    weakness = "is not set" if key is None else secret_key_weakness(key)
    if weakness:
        advice = "" if remedy in weakness else f": {remedy}"
        return Finding(False, "secret key", f"SECRET_KEY {weakness}{advice}")
    return Finding(True, "secret key", "SECRET_KEY is long and random enough to sign tokens with")

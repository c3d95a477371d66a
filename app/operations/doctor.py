"""`tessera doctor`: check a deployment from the service's machine, with the service's settings and credentials."""

from __future__ import annotations

import asyncio
import ipaddress
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from aiosmtplib import SMTPException, SMTPResponseException
from sqlalchemy import DateTime, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.authentication.social.discovery import fetch_metadata
from app.authentication.social.errors import IdentificationFailed
from app.core.clock import real_now
from app.core.config import OidcProvider, Settings
from app.core.database import citus, migrations, pooler
from app.core.database.base import TableKind, find_tables
from app.core.database.pool import Database
from app.core.database.revisions import is_supported, read_schema_revision
from app.core.key_strength import find_secret_key_weakness
from app.notifications.channel import make_email_channel
from app.notifications.mime import to_one_line
from app.notifications.smtp import Server
from app.operations.distribution import find_distribution_problem

MIN_POSTGRESQL_VERSION = 15
MAX_CLOCK_SKEW = 2.0  # seconds
SMTP_TIMEOUT = 10.0  # seconds for greeting, encryption and login together
MAX_ERROR_LENGTH = 200  # characters
# Domains of local networks and tests (RFC 2606, 6761, 6762 and 8375).
LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".test", ".invalid")
_ONE_NETWORK = "behind an unlisted proxy all clients are one network, and share its turn and its limits of sign-in"
POOLER = "pooler"  # the check that is made only if there is one, or should be


@dataclass(frozen=True)
class Finding:
    """The result of one check. If the check failed, `detail` ends with the remedy."""

    is_ok: bool
    check: str
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


async def run_checks(settings: Settings) -> list[Finding]:
    """Run every check. No finding contains a password or the secret key."""
    return [
        *await check_database(settings),
        await _check_mail(settings),
        *[await _check_provider(name, provider) for name, provider in settings.oidc_providers.items()],
        _check_secret_key(settings.secret_key),
        _check_sign_up(settings),
        check_proxies(settings),
    ]


# --- the database ----------------------------------------------------------------------------------------------------


async def check_database(settings: Settings) -> list[Finding]:
    """Run the checks of the database. The first finding says whether it can be reached."""
    assert settings.database_url is not None
    try:
        # Whatever the settings say: a connection that suits poolers can also find one that they do not mention.
        database = Database(settings.database_url, pool_size=1, transaction_pooler=True)
        passwords = _find_passwords(settings.database_url)
    except (ArgumentError, ValueError):  # their messages may repeat the password
        return _fail_database_checks("DATABASE_URL is invalid", "use postgresql://user:password@host:port/database")
    try:
        return await _check_open_database(database, passwords, is_pooler_set=settings.has_transaction_pooler)
    finally:
        await database.dispose()


async def _check_open_database(database: Database, passwords: list[str], *, is_pooler_set: bool) -> list[Finding]:
    try:
        async with database.session(None) as db:
            version, checks = await _check_version(db), dict(CHECKS)
            if await db.scalar(citus.IS_INSTALLED):
                checks["distribution"] = _check_distribution
            is_pooled = await (await db.connection()).run_sync(pooler.is_behind_pooler)
    except Exception as error:  # noqa: BLE001 - any failure to connect is a finding
        reason = _describe_error(error, passwords)
        return _fail_database_checks(f"cannot be reached ({reason})", "start it, or correct DATABASE_URL")
    first = [version, _check_pooler(is_pooled, is_set=is_pooler_set)] if is_pooled or is_pooler_set else [version]
    return [*first, *[await _run_check(database, name, check, passwords) for name, check in checks.items()]]


def _check_pooler(is_pooled: bool, *, is_set: bool) -> Finding:
    if not is_set:
        return Finding(False, POOLER, f"{pooler.PROBLEM}: {pooler.REMEDY}")
    if not is_pooled:
        detail = "DATABASE_URL reaches PostgreSQL directly, which is faster without DATABASE_POOLER"
        return Finding(True, POOLER, detail)
    return Finding(True, POOLER, "connections go through a pooler, as DATABASE_POOLER says")


def _fail_database_checks(problem: str, remedy: str) -> list[Finding]:
    skipped = "not checked, because the database cannot be reached: correct that first"
    return [Finding(False, "database", f"{problem}: {remedy}"), *(Finding(False, name, skipped) for name in CHECKS)]


async def _run_check(database: Database, name: str, check: Check, passwords: list[str]) -> Finding:
    """Run a check in a separate transaction, so that its failure does not affect the others."""
    try:
        async with database.session(None) as db:
            return await check(db)
    except (DBAPIError, OSError) as error:
        remedy = "run `tessera migrate`, which also grants the service's role its privileges"
        return Finding(False, name, f"cannot be read ({_describe_error(error, passwords)}): {remedy}")


async def _check_version(db: AsyncSession) -> Finding:
    number, version, database_name = (await db.execute(_VERSION)).one()
    detail = f"PostgreSQL {version}, database {database_name}"
    if number // 10_000 < MIN_POSTGRESQL_VERSION:
        return Finding(False, "database", f"{detail}: upgrade to PostgreSQL {MIN_POSTGRESQL_VERSION} or newer")
    return Finding(True, "database", detail)


async def _check_role(db: AsyncSession) -> Finding:
    name, is_superuser, bypasses_rls = (await db.execute(_ROLE)).one()
    if is_superuser or bypasses_rls:
        privilege = "is a superuser" if is_superuser else "has BYPASSRLS"
        return Finding(
            False,
            "role",
            f"{name} {privilege}, so organisations are not isolated from each other: use a role in DATABASE_URL that "
            "is neither superuser nor BYPASSRLS (and the tables' owner in MIGRATIONS_DATABASE_URL)",
        )
    return Finding(True, "role", f"{name} is neither superuser nor BYPASSRLS")


async def _check_migrations(db: AsyncSession) -> Finding:
    current, required = await read_schema_revision(db), migrations.find_head_revision()
    if not await is_supported(db, required):
        remedy = "`tessera migrate`" if migrations.has_revision(current) else "a newer version of Tessera"
        detail = f"the database is at {current or 'no revision'}, but this version requires {required}: run {remedy}"
        return Finding(False, "migrations", detail)
    if current != required:
        return Finding(True, "migrations", f"at {current} of a newer version, which supports this one ({required})")
    return Finding(True, "migrations", f"at {current}, as this version requires")


async def _check_row_security(db: AsyncSession) -> Finding:
    exempt = find_tables(*(kind for kind in TableKind if kind is not TableKind.TENANT))
    tables = [(name, is_forced) for name, is_forced in await db.execute(_TENANT_TABLES) if name not in exempt]
    if not tables:
        return Finding(False, "row security", "there are no tenant tables: run `tessera migrate`")
    if lacking := [name for name, is_forced in tables if not is_forced]:
        return Finding(
            False,
            "row security",
            f"not enabled and forced on {', '.join(lacking)}: as the owner, ALTER TABLE each of them "
            "ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        )
    return Finding(True, "row security", f"enabled and forced on all {len(tables)} tenant tables")


async def _check_clock(db: AsyncSession) -> Finding:
    # The measurement with the shortest round trip is the most precise. The first one also prepares the statement.
    _, skew = min([await _measure_skew(db) for _ in range(3)])
    detail = f"{abs(skew.total_seconds()):.3f} s {'ahead of' if skew < timedelta(0) else 'behind'} the database's"
    if abs(skew.total_seconds()) >= MAX_CLOCK_SKEW:
        return Finding(False, "clock", f"{detail}: synchronise both machines by NTP")
    return Finding(True, "clock", detail)


async def _measure_skew(db: AsyncSession) -> tuple[timedelta, timedelta]:
    """Return the round-trip time, and how far the database's clock is ahead of this machine's."""
    before = real_now()
    database_time = (await db.execute(select(func.clock_timestamp(type_=DateTime(timezone=True))))).scalar_one()
    round_trip = real_now() - before
    return round_trip, database_time - before - round_trip / 2


async def _check_distribution(db: AsyncSession) -> Finding:
    problem = await find_distribution_problem(db)
    return Finding(problem is None, "distribution", problem or "every table has its place on the nodes of Citus")


CHECKS: dict[str, Check] = {
    "role": _check_role,
    "migrations": _check_migrations,
    "row security": _check_row_security,
    "clock": _check_clock,
}


def _find_passwords(url: str) -> list[str]:
    parts = make_url(url)
    candidates = (parts.password, parts.query.get("password"))
    return [password for password in candidates if isinstance(password, str) and password]


def _describe_error(error: Exception, passwords: list[str]) -> str:
    """Return the first line of the error's message, without passwords."""
    if isinstance(error, DBAPIError):
        error = getattr(error.orig, "__cause__", None) or error
    message = to_one_line(str(error).partition("\n")[0]) or type(error).__name__
    for password in passwords:
        message = message.replace(password, "***")
    return message[:MAX_ERROR_LENGTH]


# --- mail ------------------------------------------------------------------------------------------------------------


async def _check_mail(settings: Settings) -> Finding:
    try:
        make_email_channel(smtp_url=settings.smtp_url, mail_from=settings.mail_from, mail_dir=settings.mail_dir)
    except ValueError as error:
        return Finding(False, "mail", f"{to_one_line(str(error))}: correct MAIL_FROM or SMTP_URL")
    if settings.smtp_url is None:
        return await asyncio.to_thread(_check_mail_folder, settings.mail_dir)
    return await _check_mail_server(Server.from_url(settings.smtp_url))


def _check_mail_folder(folder: Path) -> Finding:
    detail = f"without SMTP_URL, mails are written to {folder}"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        remedy = "make the folder writable for the service, or set SMTP_URL"
        return Finding(False, "mail", f"{detail}, which is not writable ({error.strerror}): {remedy}")
    return Finding(True, "mail", detail)


async def _check_mail_server(server: Server) -> Finding:
    address = f"{server.host}:{server.port}"
    try:
        async with asyncio.timeout(SMTP_TIMEOUT):
            client = await server.connect(SMTP_TIMEOUT)
        is_encrypted = client.get_transport_info("ssl_object") is not None
        with suppress(SMTPException, OSError):
            await client.quit()
    except (SMTPException, OSError, ValueError) as error:
        problem = f"cannot be used ({error or type(error).__name__})"
        if isinstance(error, SMTPResponseException):
            problem = f"replied {error.code} {error.message}"
        problem = to_one_line(server.mask_secrets(problem))[:MAX_ERROR_LENGTH]
        return Finding(False, "mail", f"{address} {problem}: correct SMTP_URL, or the mail server")
    details = f"{'' if is_encrypted else 'un'}encrypted{', login accepted' if server.user else ''}"
    return Finding(True, "mail", f"{address} accepts connections, {details}")


# --- social sign-in --------------------------------------------------------------------------------------------------


async def _check_provider(name: str, provider: OidcProvider) -> Finding:
    check = f"provider {name}"
    try:
        await fetch_metadata(provider.issuer)
    except IdentificationFailed as error:
        remedy = "correct the issuer in OIDC_PROVIDERS, or the provider"
        return Finding(False, check, f"{provider.issuer} {error}: {remedy}")
    return Finding(True, check, f"{provider.issuer} publishes valid metadata")


# --- the sign-up of organisations ------------------------------------------------------------------------------------


def _check_sign_up(settings: Settings) -> Finding:
    limit = settings.unproved_mail_limit
    if settings.org_sign_up != "open":
        return Finding(True, "sign-up", f"ORG_SIGN_UP={settings.org_sign_up}: visitors cannot sign organisations up")
    if limit:
        return Finding(True, "sign-up", f"open; an organisation without a proved domain mails {limit} addresses a day")
    if settings.public_url is None or not _is_public(settings.public_url):
        return Finding(True, "sign-up", "open, and PUBLIC_URL is not public")
    return Finding(
        False,
        "sign-up",
        f"open to every visitor of {settings.public_url}, who can have mail sent to any address: set "
        "ORG_SIGN_UP=closed or token, or UNPROVED_MAIL_LIMIT",
    )


def check_proxies(settings: Settings) -> Finding:
    """Check whether the clients behind a proxy can be told apart."""
    if settings.trusted_proxies:
        return Finding(True, "proxies", f"clients behind {', '.join(settings.trusted_proxies)} are told apart")
    is_proxied = (settings.public_url or "").startswith("https:")  # the service itself does not terminate TLS
    return Finding(
        not is_proxied,
        "proxies",
        f"PUBLIC_URL is https, so a proxy terminates TLS, but {_ONE_NETWORK}: list the proxy in TRUSTED_PROXIES"
        if is_proxied
        else f"TRUSTED_PROXIES is not set: right without a proxy, but {_ONE_NETWORK}",
    )


def _is_public(url: str) -> bool:
    """Return whether the host may be reached from the internet: not this machine, nor a name of a local network."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(LOCAL_SUFFIXES)


# --- the secret key --------------------------------------------------------------------------------------------------


def _check_secret_key(key: str | None) -> Finding:
    remedy = "generate one with `openssl rand -base64 48`"
    weakness = "is not set" if key is None else find_secret_key_weakness(key)
    if weakness:
        advice = "" if remedy in weakness else f": {remedy}"
        return Finding(False, "secret key", f"SECRET_KEY {weakness}{advice}")
    return Finding(True, "secret key", "SECRET_KEY is long and random enough")

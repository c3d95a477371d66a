"""The command line: `tessera serve | worker | migrate | doctor | openapi | demo`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from types import FrameType
from typing import Annotated, NoReturn

import orjson
import typer
import uvicorn
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from uvicorn.supervisors import Multiprocess

from app.core.config import InvalidSettings, Settings, kept_secret_key, load_settings
from app.core.database import migrations
from app.core.database.pool import sqlstate_of
from app.core.embedded import Address, EmbeddedUnavailable, attach, start
from app.core.telemetry import configure_logging
from app.core.web.protocol import bounded_protocol

NO_ACCESS = ("08", "28", "3D", "53", "57")  # classes of SQLSTATE: no connection, no such user or database, not now
BACKLOG = 2048  # connections that the kernel holds until they are accepted

cli = typer.Typer(
    help="Tessera: ticketing that a product plugs in. Settings come from the environment or `.env`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """The command `tessera`; whatever is expected to go wrong is one line."""
    try:
        cli()
    except (InvalidSettings, EmbeddedUnavailable) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"tessera: {message}\n")
    raise SystemExit(2)


def _settings() -> Settings:
    settings = load_settings()
    configure_logging(as_json=settings.log_format == "json", level=settings.log_level)
    return settings


@contextmanager
def _database(settings: Settings, *, exclusive: bool = False) -> Iterator[tuple[Settings, str]]:
    """The settings with a database and a key, and the address that migrations use.

    Without a `DATABASE_URL` it is the embedded one: the one that is running, or else (or with `exclusive`) one that is
    started, and stopped at the end.
    """
    if settings.database_url is not None:
        yield settings, settings.migrations_database_url or settings.database_url
        return
    running = None if exclusive else attach(settings.data_dir)
    if running is not None:
        yield _embedded(settings, running), running.owner_url
        return
    with start(settings.data_dir) as server:
        yield _embedded(settings, server.address), server.address.owner_url


def _embedded(settings: Settings, address: Address) -> Settings:
    key = settings.secret_key or kept_secret_key(settings.data_dir)
    return settings.model_copy(update={"database_url": address.service_url, "secret_key": key})


def _migrate(settings: Settings, owner_url: str) -> None:
    assert settings.database_url is not None
    try:
        migrations.migrate(owner_url, make_url(settings.database_url).username)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except DBAPIError as error:
        if not (sqlstate_of(error) or "").startswith(NO_ACCESS):
            raise
        reason = str(error.orig).partition("\n")[0]
    else:
        return
    raise InvalidSettings(f"DATABASE_URL, MIGRATIONS_DATABASE_URL: the database cannot be reached ({reason})")


@cli.command()
def serve(
    migrate: Annotated[bool, typer.Option(help="Migrate first; the embedded database always is.")] = False,
) -> None:
    """Serve HTTP, with the worker inside unless WORKER=off."""
    settings = _settings()
    _exit_cleanly_on_sigterm()
    with (
        closing(_bind(settings)) as listening,
        _database(settings, exclusive=True) as (complete, owner_url),
        suppress(KeyboardInterrupt),
    ):
        _try_out(complete)
        if migrate or settings.database_url is None:
            _migrate(complete, owner_url)
        ready = settings.database_url is None or _check_the_database(settings.database_url)
        _serve(complete, listening, ready=ready)


def _try_out(settings: Settings) -> None:
    """Build what reads its own settings, so that a wrong one is one line now and no failure later."""
    from app import wiring
    from app.core.web.limits import Limiter

    try:
        wiring.channels(settings)
    except ValueError as error:
        raise InvalidSettings(f"SMTP_URL, MAIL_FROM: {error}") from None
    try:
        Limiter(settings.redis_url)
    except Exception as error:  # noqa: BLE001 - whatever the library makes of it
        raise InvalidSettings(f"REDIS_URL: it cannot be used ({type(error).__name__})") from None


def _check_the_database(url: str) -> bool:
    """Say what is wrong with it; the service starts all the same, since that may be put right meanwhile."""
    from app.operations.doctor import examine_database

    wrong = {finding.what: finding.detail for finding in asyncio.run(examine_database(url)) if not finding.good}
    for what in ["database"] if "database" in wrong else wrong:
        sys.stderr.write(f"tessera: {what}: {wrong[what]}\n")
    return not wrong.keys() & {"database", "migrations"}


def _bind(settings: Settings) -> socket.socket:
    """Take the port before anything else is started; nobody can connect until somebody listens."""
    listening = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        place = f"{settings.host}:{settings.port}"
        raise InvalidSettings(f"HOST, PORT: cannot serve on {place} ({error.strerror}): choose another") from None
    return listening


def _exit_cleanly_on_sigterm() -> None:
    def leave(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    # The server's own handlers stand in for this one while it runs, and pass the signal on when it has stopped.
    signal.signal(signal.SIGTERM, leave)


def _serve(settings: Settings, listening: socket.socket, *, ready: bool) -> None:
    config = uvicorn.Config(
        "app.main:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.web_workers,
        http=bounded_protocol(settings.header_timeout),
        ws="none",
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application believes the trusted ones only
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    _hand_down(settings)
    announcement = _announcement(settings, ready=ready)
    if settings.web_workers == 1:
        _Server(config, announcement).run(sockets=[listening])
        return
    with tempfile.TemporaryDirectory(prefix="tessera-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        listening.listen(BACKLOG)  # whoever connects from now on waits until the first process is there
        listening.set_inheritable(True)
        sys.stdout.write(announcement)
        sys.stdout.flush()
        Multiprocess(config, [listening]).run()


def _hand_down(settings: Settings) -> None:
    """Let the processes that serve find the embedded database and the key where settings are."""
    os.environ["DATABASE_URL"] = settings.database_url or ""
    os.environ["SECRET_KEY"] = settings.secret_key or ""


def _announcement(settings: Settings, *, ready: bool) -> str:
    mail = "over SMTP" if settings.smtp_url else f"into {settings.mail_dir}/*.eml"
    worker = "inside" if settings.worker == "inline" else "elsewhere"
    state = "is ready" if ready else "serves, and is ready once that is put right"
    return f"Tessera {state}: {settings.url}/docs\nMail goes {mail}; the worker runs {worker}. Ctrl-C stops it.\n"


class _Server(uvicorn.Server):
    """Says where it is once it is there."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(self._announcement)
            sys.stdout.flush()


@cli.command()
def worker() -> None:
    """Run the worker alone: timers, relay, deliveries, housekeeping. Any number may run side by side."""
    settings = _settings()
    _exit_cleanly_on_sigterm()
    with _database(settings) as (complete, owner_url), suppress(KeyboardInterrupt):
        from app.worker import run_worker

        _try_out(complete)
        if settings.database_url is None:
            _migrate(complete, owner_url)
        asyncio.run(run_worker(complete))


@cli.command()
def migrate() -> None:
    """Bring the database to this version's schema, as the role of MIGRATIONS_DATABASE_URL."""
    with _database(_settings()) as (complete, owner_url):
        _migrate(complete, owner_url)
    sys.stdout.write("The database is up to date.\n")


@cli.command()
def doctor() -> None:
    """Check what a deployment needs, one line each; exits with 1 if anything is wrong."""
    from app.operations.doctor import examine

    with _database(_settings()) as (complete, _):
        findings = asyncio.run(examine(complete))
    for finding in findings:
        sys.stdout.write(f"{'ok  ' if finding.good else 'FAIL'}  {finding.what:<14} {finding.detail}\n")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from app.main import create_api

    document = create_api(load_settings()).openapi()
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


@cli.command()
def demo(
    tickets: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 3000,
) -> None:
    """Fill a new sandbox organisation with believable tickets; nobody gets mail for them."""
    from app import wiring
    from app.operations.demo import fill

    with _database(_settings()) as (complete, owner_url):
        _migrate(complete, owner_url)
        sys.stdout.write(asyncio.run(fill(complete, tickets, wiring.NUMBERING_WITHOUT_REACTIONS)))


if __name__ == "__main__":
    main()

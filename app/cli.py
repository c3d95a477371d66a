"""The command line: `tessera serve | worker | migrate | doctor | openapi | demo`."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
import tempfile
import time
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

from app.core.config import InvalidSettings, Settings, load_or_create_secret_key, load_settings
from app.core.database import migrations
from app.core.database.violations import get_sqlstate
from app.core.embedded import Address, EmbeddedUnavailable, FolderInUse, attach, start
from app.core.telemetry import configure_logging
from app.core.web.protocol import make_bounded_protocol

# Classes of SQLSTATE: connection failure, invalid user, missing database, insufficient resources, server shutting down
UNREACHABLE_SQLSTATES = ("08", "28", "3D", "53", "57")
ATTACH_TIMEOUT = 20.0  # seconds to wait while another process starts the embedded database, possibly after a crash
BIND_TIMEOUT = 2.0  # seconds for the web processes of a killed service to free the port
BIND_INTERVAL = 0.05  # seconds
LISTEN_BACKLOG = 2048  # connections that the kernel queues until they are accepted

cli = typer.Typer(
    help="Tessera, a ticketing service for products. Settings are read from the environment or from `.env`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command `tessera`; report expected failures in one line."""
    try:
        cli()
    except (InvalidSettings, EmbeddedUnavailable) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"tessera: {message}\n")
    raise SystemExit(2)


def _load_settings() -> Settings:
    settings = load_settings()
    configure_logging(as_json=settings.log_format == "json", level=settings.log_level)
    return settings


@contextmanager
def _database(
    settings: Settings, *, exclusive: bool = False, keep_running: bool = False
) -> Iterator[tuple[Settings, str]]:
    """Yield the settings completed with database and secret key, and the URL for migrations.

    Without `DATABASE_URL`, use the embedded database: attach to a running one, or else start one and stop it at the
    end.

    Args:
        exclusive: always start the embedded database, and fail if it is already running.
        keep_running: if this process starts the embedded database, start it again whenever it ends by itself.
    """
    if settings.database_url is not None:
        yield settings, settings.migrations_database_url or settings.database_url
        return
    running = None if exclusive else attach(settings.data_dir, timeout=ATTACH_TIMEOUT)
    if running is None:
        try:
            server = start(settings.data_dir)
        except FolderInUse:
            # Another process may have taken the folder in the meantime.
            running = None if exclusive else attach(settings.data_dir, timeout=ATTACH_TIMEOUT)
            if running is None:
                raise
    if running is not None:
        yield _complete_settings(settings, running), running.owner_url
        return
    with server:
        if keep_running:
            server.keep_running()
        yield _complete_settings(settings, server.address), server.address.owner_url


def _complete_settings(settings: Settings, address: Address) -> Settings:
    key = settings.secret_key or load_or_create_secret_key(settings.data_dir)
    return settings.model_copy(update={"database_url": address.service_url, "secret_key": key})


def _migrate(settings: Settings, owner_url: str) -> bool:
    """Migrate, and return whether the schema is now that of this version. A newer version's schema is left as it is."""
    assert settings.database_url is not None
    try:
        migrations.migrate(owner_url, make_url(settings.database_url).username)
    except migrations.NewerSchema:
        sys.stderr.write("tessera: the database has the schema of a newer version: nothing to migrate\n")
        return False
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except DBAPIError as error:
        if not (get_sqlstate(error) or "").startswith(UNREACHABLE_SQLSTATES):
            raise
        reason = str(error.orig).partition("\n")[0]
    else:
        return True
    raise InvalidSettings(f"DATABASE_URL, MIGRATIONS_DATABASE_URL: the database cannot be reached ({reason})")


@cli.command()
def serve(
    migrate: Annotated[
        bool, typer.Option(help="Migrate the database first. The embedded database is always migrated.")
    ] = False,
) -> None:
    """Serve HTTP. The worker runs in the same process unless WORKER=off."""
    settings = _load_settings()
    _exit_cleanly_on_sigterm()
    with (
        closing(_bind(settings)) as listener,
        _database(settings, exclusive=True, keep_running=True) as (complete_settings, owner_url),
        suppress(KeyboardInterrupt),
    ):
        _check_channels_and_limiter(complete_settings)
        is_embedded = settings.database_url is None
        is_migrated = (migrate or is_embedded) and _migrate(complete_settings, owner_url)
        is_ready = (is_embedded and is_migrated) or _check_database(complete_settings)
        _serve(complete_settings, listener, is_ready=is_ready)


def _check_channels_and_limiter(settings: Settings) -> None:
    """Build the components that parse settings themselves, so that an invalid setting stops the start.

    Raises:
        InvalidSettings: A setting is invalid.
    """
    from app import wiring
    from app.core.web.limiter import Limiter

    try:
        wiring.make_channels(settings)
    except ValueError as error:
        raise InvalidSettings(f"SMTP_URL, MAIL_FROM: {error}") from None
    try:
        Limiter(settings.redis_url)
    except Exception as error:  # noqa: BLE001 - the library raises various errors for an invalid URL
        raise InvalidSettings(f"REDIS_URL: it cannot be used ({type(error).__name__})") from None


def _check_database(settings: Settings) -> bool:
    """Report the problems of the database, and return whether requests can be served.

    The service starts in most cases, since an operator may correct the database meanwhile.

    Raises:
        InvalidSettings: A pooler is in use that the settings do not mention.
    """
    from app import models as _models  # noqa: F401 - the tables that the checks expect
    from app.operations.doctor import POOLER, check_database

    failed = {finding.check: finding.detail for finding in asyncio.run(check_database(settings)) if not finding.is_ok}
    if POOLER in failed:
        raise InvalidSettings(f"DATABASE_POOLER: {failed[POOLER]}")
    # If the database is unavailable, the other findings only repeat that.
    for check in ["database"] if "database" in failed else failed:
        sys.stderr.write(f"tessera: {check}: {failed[check]}\n")
    return not failed.keys() & {"database", "migrations"}


def _bind(settings: Settings) -> socket.socket:
    """Reserve the port before anything else starts. Connections are refused until the server listens.

    Raises:
        InvalidSettings: The port is in use, or the host is not an address of this machine.
    """
    if settings.metrics_port:  # only checked: each web process listens itself
        _bind_port(settings.host, settings.metrics_port, "HOST, METRICS_PORT").close()
    return _bind_port(settings.host, settings.port, "HOST, PORT")


def _bind_port(host: str, port: int, names: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + BIND_TIMEOUT
    while True:
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(BIND_INTERVAL)
                continue
            listener.close()
            reason = error.strerror
            raise InvalidSettings(f"{names}: cannot serve on {host}:{port} ({reason}): choose another") from None
        return listener


def _exit_cleanly_on_sigterm() -> None:
    def handle(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    # uvicorn replaces this handler while it runs, and raises the signal again when it has stopped.
    signal.signal(signal.SIGTERM, handle)


def _serve(settings: Settings, listener: socket.socket, *, is_ready: bool) -> None:
    config = uvicorn.Config(
        "app.main:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.web_workers,
        http=make_bounded_protocol(settings.header_timeout),
        ws="none",
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `create_app` handles them, for trusted proxies only
        backlog=LISTEN_BACKLOG,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    _export_to_environment(settings)
    banner = _write_banner(settings, is_ready=is_ready)
    if settings.web_workers == 1:
        _Server(config, banner).run(sockets=[listener])
        return
    with tempfile.TemporaryDirectory(prefix="tessera-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        listener.listen(LISTEN_BACKLOG)  # from now on, connections wait until the first process accepts them
        listener.set_inheritable(True)
        _print(banner)
        Multiprocess(config, [listener]).run()


def _export_to_environment(settings: Settings) -> None:
    """Set the environment variables from which the web processes load the database URL and the secret key."""
    os.environ["DATABASE_URL"] = settings.database_url or ""
    os.environ["SECRET_KEY"] = settings.secret_key or ""


def _write_banner(settings: Settings, *, is_ready: bool) -> str:
    mail = "sent over SMTP" if settings.smtp_url else f"written to {settings.mail_dir}/*.eml"
    worker = "in this process" if settings.worker == "inline" else "separately"
    state = "is ready" if is_ready else "is running but not ready: correct the problems above"
    return (
        f"Tessera {state}: {settings.base_url}/docs\nMail is {mail}; the worker runs {worker}. Press Ctrl-C to stop.\n"
    )


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class _Server(uvicorn.Server):
    """A server that prints a banner once it has started."""

    def __init__(self, config: uvicorn.Config, banner: str) -> None:
        super().__init__(config)
        self._banner = banner

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _print(self._banner)


@cli.command()
def worker() -> None:
    """Run the worker only: timers, relay, deliveries and housekeeping. Several workers can run at the same time."""
    settings = _load_settings()
    _exit_cleanly_on_sigterm()
    with _database(settings, keep_running=True) as (complete_settings, owner_url), suppress(KeyboardInterrupt):
        from app.worker import run_worker

        _check_channels_and_limiter(complete_settings)
        is_embedded = settings.database_url is None
        if not (is_embedded and _migrate(complete_settings, owner_url)):
            _check_database(complete_settings)
        asyncio.run(run_worker(complete_settings))


@cli.command()
def migrate() -> None:
    """Migrate the database to this version's schema, as the role of MIGRATIONS_DATABASE_URL."""
    with _database(_load_settings()) as (complete_settings, owner_url):
        if _migrate(complete_settings, owner_url):
            sys.stdout.write("The database is up to date.\n")
        elif not _check_database(complete_settings):
            raise typer.Exit(1)


@cli.command()
def doctor() -> None:
    """Check the deployment and print one line per check. Exits with 1 if a check fails."""
    from app import models as _models  # noqa: F401 - the tables that the checks expect
    from app.operations.doctor import run_checks

    with _database(_load_settings()) as (complete_settings, _):
        findings = asyncio.run(run_checks(complete_settings))
    for finding in findings:
        sys.stdout.write(f"{'ok  ' if finding.is_ok else 'FAIL'}  {finding.check:<14} {finding.detail}\n")
    if not all(finding.is_ok for finding in findings):
        raise typer.Exit(1)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from app.main import create_api

    document = create_api(load_settings()).openapi()
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


@cli.command()
def demo(
    tickets: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of tickets.")] = 3000,
) -> None:
    """Create a sandbox organisation with realistic tickets. No mail is sent for them."""
    from app import wiring
    from app.operations.demo import create_demo

    with _database(_load_settings()) as (complete_settings, owner_url):
        _migrate(complete_settings, owner_url)
        sys.stdout.write(asyncio.run(create_demo(complete_settings, tickets, wiring.NUMBERING_WITHOUT_REACTIONS)))


if __name__ == "__main__":
    main()

"""`tessera doctor`, on a real deployment and on what really breaks one."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from alembic import command

from app.core.database.migrations import configuration, head_revision, migrate
from app.operations.doctor import Finding, examine
from tests.operations import Deployment, a_deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CHECKS = ["database", "role", "migrations", "row security", "clock", "mail", "secret key"]
SMTP_PASSWORD = "s3cret-of-the-mail-server"


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with a_deployment() as made:
        yield made


async def findings(deployment: Deployment, **changes: Any) -> dict[str, Finding]:
    """What the doctor finds, by check; in one line each, and never with a secret in it."""
    settings = deployment.settings.model_copy(update=changes)
    found = await examine(settings)
    assert [finding.what for finding in found] == CHECKS
    for finding in found:
        assert "\n" not in finding.detail
        for secret in (*deployment.passwords, SMTP_PASSWORD, settings.secret_key):
            assert not secret or secret not in repr(finding)
    return {finding.what: finding for finding in found}


async def the_only_problem(deployment: Deployment, **changes: Any) -> str:
    """What is wrong, where all else is good: `check: detail`."""
    bad = [finding for finding in (await findings(deployment, **changes)).values() if not finding.good]
    assert len(bad) == 1, bad
    return f"{bad[0].what}: {bad[0].detail}"


async def test_a_good_deployment_is_all_good(deployment: Deployment) -> None:
    found = await findings(deployment)
    assert all(finding.good for finding in found.values()), found
    assert found["database"].detail.startswith("PostgreSQL 1")
    assert found["role"].detail == "tessera_service is neither superuser nor BYPASSRLS"
    assert found["migrations"].detail == f"at {head_revision()}, which this version needs"
    assert found["mail"].detail == f"without SMTP_URL, mails are written to {deployment.settings.mail_dir}"
    assert not deployment.settings.mail_dir.exists()  # to look is not to leave anything behind


# --- the database ----------------------------------------------------------------------------------------------------


async def test_a_superuser_is_named(deployment: Deployment) -> None:
    problem = await the_only_problem(deployment, database_url=deployment.superuser_url)
    assert problem.startswith("role: postgres is a superuser, so organisations are not kept apart: let DATABASE_URL")


async def test_a_role_that_bypasses_row_level_security_is_named(deployment: Deployment) -> None:
    await deployment.as_superuser("ALTER ROLE tessera_service BYPASSRLS")
    try:
        problem = await the_only_problem(deployment)
    finally:
        await deployment.as_superuser("ALTER ROLE tessera_service NOBYPASSRLS")
    assert problem.startswith("role: tessera_service has BYPASSRLS")


@pytest.mark.parametrize(("broken", "mended"), [("NO FORCE", "FORCE"), ("DISABLE", "ENABLE")])
async def test_a_table_without_forced_row_level_security_is_named(
    deployment: Deployment, broken: str, mended: str
) -> None:
    await deployment.as_owner(f"ALTER TABLE tickets {broken} ROW LEVEL SECURITY")
    try:
        problem = await the_only_problem(deployment)
    finally:
        await deployment.as_owner(f"ALTER TABLE tickets {mended} ROW LEVEL SECURITY")
    assert problem.startswith("row security: not enabled and forced on tickets: as the owner, ALTER TABLE")


async def test_new_tables_are_looked_at_if_their_rows_are_an_organisations(deployment: Deployment) -> None:
    await deployment.as_owner("CREATE TABLE drafts (org_id uuid); CREATE TABLE colours (name text)")
    try:
        problem = await the_only_problem(deployment)
    finally:
        await deployment.as_owner("DROP TABLE drafts, colours")
    assert "forced on drafts: " in problem


async def test_a_downgraded_database_is_to_be_migrated(deployment: Deployment) -> None:
    owner = configuration(deployment.owner_url, "tessera_service")
    await asyncio.to_thread(command.downgrade, owner, "-1")
    try:
        found = (await findings(deployment))["migrations"]
    finally:
        await asyncio.to_thread(migrate, deployment.owner_url, "tessera_service")
    assert f"this version needs {head_revision()}: run `tessera migrate`" in found.detail
    assert (await findings(deployment))["migrations"].good


async def test_an_empty_database_is_to_be_migrated(deployment: Deployment) -> None:
    await deployment.as_superuser("CREATE DATABASE empty")
    assert deployment.settings.database_url is not None
    found = await findings(deployment, database_url=deployment.settings.database_url.replace("/tessera?", "/empty?"))
    assert [what for what, finding in found.items() if not finding.good] == ["migrations", "row security"]
    assert found["row security"].detail == "there are no tenant tables: run `tessera migrate`"
    assert found["migrations"].detail.startswith(
        f"the database is at no revision and this version needs {head_revision()}"
    )


async def test_what_the_role_may_not_read_is_to_be_granted(deployment: Deployment) -> None:
    await deployment.as_owner("REVOKE SELECT ON alembic_version FROM tessera_service")
    try:
        problem = await the_only_problem(deployment)
    finally:
        await asyncio.to_thread(migrate, deployment.owner_url, "tessera_service")
    assert problem.startswith("migrations: cannot be read (permission denied for table alembic_version): run `tessera")


async def test_clocks_that_differ_are_measured(deployment: Deployment) -> None:
    # A function of the same name, found before the system's.
    await deployment.as_owner(
        "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql "
        "AS $$ SELECT pg_catalog.clock_timestamp() + interval '5 seconds' $$"
    )
    await deployment.as_superuser("ALTER ROLE tessera_service SET search_path = public, pg_catalog")
    try:
        problem = await the_only_problem(deployment)
    finally:
        await deployment.as_superuser("ALTER ROLE tessera_service RESET search_path")
        await deployment.as_owner("DROP FUNCTION public.clock_timestamp()")
    assert problem.endswith(" s behind the database's: let both machines keep time by NTP")
    assert 4.5 < float(problem.split()[1]) < 5.5


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+asyncpg://tessera:{password}@127.0.0.1:{port}/tessera", "cannot be reached ("),
        ("{service}&user=nobody-at-all", "cannot be reached ("),
        ("postgresql+asyncpg://tessera:{password}@127.0.0.1:five/tessera", "DATABASE_URL cannot be read: write "),
    ],
)
async def test_without_its_database_nothing_that_needs_one_is_good(deployment: Deployment, url: str, said: str) -> None:
    url = url.format(password=deployment.passwords[0], port=a_closed_port(), service=deployment.settings.database_url)
    found = await findings(deployment, database_url=url)
    assert found["database"].detail.startswith(said)
    for what in ("role", "migrations", "row security", "clock"):
        assert found[what] == Finding(False, what, "not checked, for want of a database: put that right first")
    assert found["mail"].good


# --- mail ------------------------------------------------------------------------------------------------------------


class _MailServer:
    """It takes one login, and repeats a wrong password to whoever sent it."""

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        if login.login == b"desk":
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=f"535 {login.password.decode()} is wrong")


@asynccontextmanager
async def a_mail_server() -> AsyncIterator[int]:
    loop, behaviour = asyncio.get_running_loop(), _MailServer()

    def protocol() -> SMTP:
        return SMTP(behaviour, authenticator=behaviour.authenticate, auth_require_tls=False, loop=loop)

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def a_closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


async def test_a_mail_server_greets_and_lets_us_sign_in(deployment: Deployment) -> None:
    async with a_mail_server() as port:
        greeted = (await findings(deployment, smtp_url=f"smtp://127.0.0.1:{port}"))["mail"]
        signed_in = (await findings(deployment, smtp_url=f"smtp://desk:{SMTP_PASSWORD}@127.0.0.1:{port}"))["mail"]
    assert greeted == Finding(True, "mail", f"127.0.0.1:{port} greets us, unencrypted")
    assert signed_in == Finding(True, "mail", f"127.0.0.1:{port} greets us, unencrypted, and lets us sign in")


async def test_a_mail_server_that_refuses_us_is_quoted_without_the_password(deployment: Deployment) -> None:
    async with a_mail_server() as port:
        problem = await the_only_problem(deployment, smtp_url=f"smtp://nobody:{SMTP_PASSWORD}@127.0.0.1:{port}")
    assert problem == f"mail: 127.0.0.1:{port} answered 535 *** is wrong: correct SMTP_URL, or see to that server"


async def test_a_mail_server_that_cannot_encrypt_is_refused_where_that_is_required(deployment: Deployment) -> None:
    async with a_mail_server() as port:
        problem = await the_only_problem(deployment, smtp_url=f"smtp://127.0.0.1:{port}?starttls=required")
    assert problem.startswith(f"mail: 127.0.0.1:{port} cannot be used (")


async def test_a_mail_server_that_is_not_there_is_named(deployment: Deployment) -> None:
    port = a_closed_port()
    problem = await the_only_problem(deployment, smtp_url=f"smtp://127.0.0.1:{port}")
    assert problem.startswith(f"mail: 127.0.0.1:{port} cannot be used (")
    assert problem.endswith("): correct SMTP_URL, or see to that server")


async def test_a_folder_for_mails_that_cannot_be_written_to_is_named(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "mail").touch()
    problem = await the_only_problem(deployment, data_dir=tmp_path)
    assert problem.startswith(f"mail: without SMTP_URL, mails are written to {tmp_path}/mail, which cannot be done (")
    assert problem.endswith("): let the service write there, or set SMTP_URL")


async def test_a_sender_that_is_no_address_is_named(deployment: Deployment) -> None:
    problem = await the_only_problem(deployment, mail_from="desk@@growfin.com")
    assert problem.startswith("mail: ")
    assert problem.endswith(": correct MAIL_FROM or SMTP_URL")


# --- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("too-short", "SECRET_KEY needs at least 32 bytes: make one with `openssl rand -base64 48`"),
        ("a" * 64, "SECRET_KEY is too repetitive: generate one with `openssl rand -base64 48`"),
        ("please-changeme-" * 3, "SECRET_KEY is a sample key: generate one with `openssl rand -base64 48`"),
        (None, "SECRET_KEY is not set: make one with `openssl rand -base64 48`"),
    ],
)
async def test_a_weak_key_is_called_so_in_words(deployment: Deployment, key: str | None, said: str) -> None:
    assert await the_only_problem(deployment, secret_key=key) == f"secret key: {said}"

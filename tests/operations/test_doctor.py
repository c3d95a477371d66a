"""`tessera doctor` on a real deployment, correct and broken in various ways."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from alembic import command

from app.core.database.migrations import find_head_revision, make_alembic_config, migrate
from app.operations.doctor import Finding, run_checks
from tests.operations import Deployment, running_deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CHECKS = ["database", "role", "migrations", "row security", "clock", "mail", "secret key", "sign-up", "proxies"]
SMTP_PASSWORD = "s3cret-of-the-mail-server"


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with running_deployment() as created:
        yield created


async def run_doctor(deployment: Deployment, **changes: Any) -> dict[str, Finding]:
    """Run the doctor and return its findings by check; each is one line and contains no secret."""
    settings = deployment.settings.model_copy(update=changes)
    found = await run_checks(settings)
    assert [finding.check for finding in found] == CHECKS
    for finding in found:
        assert "\n" not in finding.detail
        for secret in (*deployment.passwords, SMTP_PASSWORD, settings.secret_key):
            assert not secret or secret not in repr(finding)
    return {finding.check: finding for finding in found}


async def find_single_problem(deployment: Deployment, **changes: Any) -> str:
    """Run the doctor, expect exactly one failed check, and return it as `check: detail`."""
    bad = [finding for finding in (await run_doctor(deployment, **changes)).values() if not finding.is_ok]
    assert len(bad) == 1, bad
    return f"{bad[0].check}: {bad[0].detail}"


async def test_a_correct_deployment_passes_every_check(deployment: Deployment) -> None:
    found = await run_doctor(deployment)
    assert all(finding.is_ok for finding in found.values()), found
    assert found["database"].detail.startswith("PostgreSQL 1")
    assert found["role"].detail == "tessera_service is neither superuser nor BYPASSRLS"
    assert found["migrations"].detail == f"at {find_head_revision()}, as this version requires"
    assert found["mail"].detail == f"without SMTP_URL, mails are written to {deployment.settings.mail_dir}"
    assert not deployment.settings.mail_dir.exists()  # the check creates no folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"public_url": "http://localhost:8000"},
        {"public_url": "https://10.0.0.7"},
        {"public_url": "https://tickets.internal"},
        {"public_url": "https://tickets.growfin.com", "unproved_mail_limit": 50},
        {"public_url": "https://tickets.growfin.com", "org_sign_up": "closed"},
        {"public_url": "https://tickets.growfin.com", "org_sign_up": "token"},
    ],
)
async def test_a_sign_up_that_outsiders_cannot_abuse_is_correct(deployment: Deployment, settings: Any) -> None:
    assert (await run_doctor(deployment, **settings))["sign-up"].is_ok


@pytest.mark.parametrize("url", ["https://tickets.growfin.com", "https://8.8.8.8"])
async def test_an_open_sign_up_without_a_limit_of_mails_is_reported(deployment: Deployment, url: str) -> None:
    problem = await find_single_problem(deployment, public_url=url, trusted_proxies=["10.0.0.0/8"])
    assert problem.startswith(f"sign-up: open to every visitor of {url}")
    assert "UNPROVED_MAIL_LIMIT" in problem


# --- the database ----------------------------------------------------------------------------------------------------


async def test_a_superuser_role_is_reported(deployment: Deployment) -> None:
    problem = await find_single_problem(deployment, database_url=deployment.superuser_url)
    assert problem.startswith(
        "role: postgres is a superuser, so organisations are not isolated from each other: use a role in DATABASE_URL"
    )


async def test_a_role_with_bypassrls_is_reported(deployment: Deployment) -> None:
    await deployment.execute_as_superuser("ALTER ROLE tessera_service BYPASSRLS")
    try:
        problem = await find_single_problem(deployment)
    finally:
        await deployment.execute_as_superuser("ALTER ROLE tessera_service NOBYPASSRLS")
    assert problem.startswith("role: tessera_service has BYPASSRLS")


@pytest.mark.parametrize(("removed", "restored"), [("NO FORCE", "FORCE"), ("DISABLE", "ENABLE")])
async def test_a_table_without_forced_row_level_security_is_reported(
    deployment: Deployment, removed: str, restored: str
) -> None:
    await deployment.execute_as_owner(f"ALTER TABLE tickets {removed} ROW LEVEL SECURITY")
    try:
        problem = await find_single_problem(deployment)
    finally:
        await deployment.execute_as_owner(f"ALTER TABLE tickets {restored} ROW LEVEL SECURITY")
    assert problem.startswith("row security: not enabled and forced on tickets: as the owner, ALTER TABLE")


async def test_every_table_with_an_organisation_column_is_checked(deployment: Deployment) -> None:
    await deployment.execute_as_owner("CREATE TABLE drafts (org_id uuid); CREATE TABLE colours (name text)")
    try:
        problem = await find_single_problem(deployment)
    finally:
        await deployment.execute_as_owner("DROP TABLE drafts, colours")
    assert "forced on drafts: " in problem


async def test_a_downgraded_database_must_be_migrated(deployment: Deployment) -> None:
    owner = make_alembic_config(deployment.owner_url, "tessera_service")
    await asyncio.to_thread(command.downgrade, owner, "-1")
    try:
        found = (await run_doctor(deployment))["migrations"]
    finally:
        await asyncio.to_thread(migrate, deployment.owner_url, "tessera_service")
    assert f"but this version requires {find_head_revision()}: run " in found.detail
    assert (await run_doctor(deployment))["migrations"].is_ok


async def test_a_newer_schema_is_correct_if_it_supports_this_version(deployment: Deployment) -> None:
    revision = find_head_revision()
    await deployment.execute_as_owner("UPDATE alembic_version SET version_num = '9999'")
    try:
        found = (await run_doctor(deployment))["migrations"]
        await deployment.execute_as_owner(f"DELETE FROM supported_revisions WHERE revision = '{revision}'")
        unsupported = await find_single_problem(deployment)
    finally:
        await deployment.execute_as_owner(
            f"UPDATE alembic_version SET version_num = '{revision}'; "
            f"INSERT INTO supported_revisions VALUES ('{revision}') ON CONFLICT DO NOTHING"
        )

    assert found == Finding(True, "migrations", f"at 9999 of a newer version, which supports this one ({revision})")
    requires = f"but this version requires {revision}: run a newer version of Tessera"
    assert unsupported == f"migrations: the database is at 9999, {requires}"


async def test_an_empty_database_must_be_migrated(deployment: Deployment) -> None:
    await deployment.execute_as_superuser("CREATE DATABASE empty")
    assert deployment.settings.database_url is not None
    found = await run_doctor(deployment, database_url=deployment.settings.database_url.replace("/tessera?", "/empty?"))
    assert [check for check, finding in found.items() if not finding.is_ok] == ["migrations", "row security"]
    assert found["row security"].detail == "there are no tenant tables: run `tessera migrate`"
    assert found["migrations"].detail.startswith(
        f"the database is at no revision, but this version requires {find_head_revision()}"
    )


async def test_missing_privileges_are_reported_with_the_remedy(deployment: Deployment) -> None:
    await deployment.execute_as_owner("REVOKE SELECT ON alembic_version FROM tessera_service")
    try:
        problem = await find_single_problem(deployment)
    finally:
        await asyncio.to_thread(migrate, deployment.owner_url, "tessera_service")
    assert problem.startswith("migrations: cannot be read (permission denied for table alembic_version): run `tessera")


async def test_a_clock_difference_is_measured(deployment: Deployment) -> None:
    # A function of the same name, found before the system's.
    await deployment.execute_as_owner(
        "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql "
        "AS $$ SELECT pg_catalog.clock_timestamp() + interval '5 seconds' $$"
    )
    await deployment.execute_as_superuser("ALTER ROLE tessera_service SET search_path = public, pg_catalog")
    try:
        problem = await find_single_problem(deployment)
    finally:
        await deployment.execute_as_superuser("ALTER ROLE tessera_service RESET search_path")
        await deployment.execute_as_owner("DROP FUNCTION public.clock_timestamp()")
    assert problem.endswith(" s behind the database's: synchronise both machines by NTP")
    assert 4.5 < float(problem.split()[1]) < 5.5


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+asyncpg://tessera:{password}@127.0.0.1:{port}/tessera", "cannot be reached ("),
        ("{service}&user=unknown", "cannot be reached ("),
        ("postgresql+asyncpg://tessera:{password}@127.0.0.1:five/tessera", "DATABASE_URL is invalid: use "),
    ],
)
async def test_checks_of_an_unreachable_database_fail(deployment: Deployment, url: str, expected: str) -> None:
    url = url.format(
        password=deployment.passwords[0], port=find_unused_port(), service=deployment.settings.database_url
    )
    found = await run_doctor(deployment, database_url=url)
    assert found["database"].detail.startswith(expected)
    skipped = "not checked, because the database cannot be reached: correct that first"
    for check in ("role", "migrations", "row security", "clock"):
        assert found[check] == Finding(False, check, skipped)
    assert found["mail"].is_ok


# --- mail ------------------------------------------------------------------------------------------------------------


class _MailServerHandler:
    """Accept the login `desk`. Refuse others with a reply that repeats the password."""

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        if login.login == b"desk":
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=f"535 {login.password.decode()} is wrong")


@asynccontextmanager
async def running_mail_server() -> AsyncIterator[int]:
    loop, behaviour = asyncio.get_running_loop(), _MailServerHandler()

    def protocol() -> SMTP:
        return SMTP(behaviour, authenticator=behaviour.authenticate, auth_require_tls=False, loop=loop)

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def find_unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


async def test_a_working_mail_server_passes_with_and_without_login(deployment: Deployment) -> None:
    async with running_mail_server() as port:
        greeted = (await run_doctor(deployment, smtp_url=f"smtp://127.0.0.1:{port}"))["mail"]
        signed_in = (await run_doctor(deployment, smtp_url=f"smtp://desk:{SMTP_PASSWORD}@127.0.0.1:{port}"))["mail"]
    assert greeted == Finding(True, "mail", f"127.0.0.1:{port} accepts connections, unencrypted")
    assert signed_in == Finding(True, "mail", f"127.0.0.1:{port} accepts connections, unencrypted, login accepted")


async def test_a_refused_login_is_reported_without_the_password(deployment: Deployment) -> None:
    async with running_mail_server() as port:
        problem = await find_single_problem(deployment, smtp_url=f"smtp://unknown:{SMTP_PASSWORD}@127.0.0.1:{port}")
    assert problem == f"mail: 127.0.0.1:{port} replied 535 *** is wrong: correct SMTP_URL, or the mail server"


async def test_a_mail_server_without_encryption_fails_if_starttls_is_required(deployment: Deployment) -> None:
    async with running_mail_server() as port:
        problem = await find_single_problem(deployment, smtp_url=f"smtp://127.0.0.1:{port}?starttls=required")
    assert problem.startswith(f"mail: 127.0.0.1:{port} cannot be used (")


async def test_an_unreachable_mail_server_is_reported(deployment: Deployment) -> None:
    port = find_unused_port()
    problem = await find_single_problem(deployment, smtp_url=f"smtp://127.0.0.1:{port}")
    assert problem.startswith(f"mail: 127.0.0.1:{port} cannot be used (")
    assert problem.endswith("): correct SMTP_URL, or the mail server")


async def test_an_unwritable_mail_folder_is_reported(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "mail").touch()
    problem = await find_single_problem(deployment, data_dir=tmp_path)
    assert problem.startswith(f"mail: without SMTP_URL, mails are written to {tmp_path}/mail, which is not writable (")
    assert problem.endswith("): make the folder writable for the service, or set SMTP_URL")


async def test_an_invalid_sender_is_reported(deployment: Deployment) -> None:
    problem = await find_single_problem(deployment, mail_from="desk@@growfin.com")
    assert problem.startswith("mail: ")
    assert problem.endswith(": correct MAIL_FROM or SMTP_URL")


# --- the secret key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("too-short", "SECRET_KEY needs at least 32 bytes: generate one with `openssl rand -base64 48`"),
        ("a" * 64, "SECRET_KEY is too easy to guess: generate one with `openssl rand -base64 48`"),
        ("please-changeme-" * 3, "SECRET_KEY is a sample key: generate one with `openssl rand -base64 48`"),
        (None, "SECRET_KEY is not set: generate one with `openssl rand -base64 48`"),
    ],
)
async def test_a_weak_secret_key_is_reported(deployment: Deployment, key: str | None, expected: str) -> None:
    assert await find_single_problem(deployment, secret_key=key) == f"secret key: {expected}"

"""Mails with a link, from the request for the link to what an SMTP server receives."""

from __future__ import annotations

import email.policy
import re
from dataclasses import asdict
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import structlog

from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import PAGES, LinkPurpose
from app.core.clock import real_now
from app.core.config import Settings
from app.core.security.opaque_tokens import LINK_PREFIX, make_link_token
from app.notifications.links import PLACEHOLDER
from app.notifications.models import Mail
from tests.conftest import settings_for
from tests.notifications.scripted_smtp_server import ScriptedSmtpServer
from tests.notifications.users import (
    LoggedMail,
    add_user,
    execute_sql,
    get_parts,
    read_files_to,
    read_mails_to,
    read_notification,
    relay_events,
    request_link,
    unique_address,
)
from tests.organisation_client import Desk
from tests.postgres import TestServer

pytestmark = pytest.mark.usefixtures("earlier_work_is_skipped")

PUBLIC_URL = "https://desk.example.com/tessera"
MAILED = [
    (LinkPurpose.VERIFY_EMAIL, "/verify-email", ("Confirm your e-mail address", "Confirm this address")),
    (LinkPurpose.CHANGE_EMAIL, "/confirm-email", ("Confirm your new e-mail address", "Use this address")),
    (LinkPurpose.RESET_PASSWORD, "/reset-password", ("Reset your password", "within 30 minutes")),
    (LinkPurpose.INVITATION, "/accept-invitation", ("You are invited", "within 7 days")),
]


@pytest.fixture
def settings(server: TestServer, tmp_path: Path) -> Settings:
    """Return the settings of a worker that writes mail into a folder of this test."""
    return settings_for(server, data_dir=tmp_path, public_url=PUBLIC_URL)


async def only_mail_to(desk: Desk, address: str) -> LoggedMail:
    (mail,) = await read_mails_to(desk, address)
    return mail


@pytest.mark.parametrize(("purpose", "path", "texts"), MAILED)
async def test_a_sent_mail_has_the_link_with_its_token_in_both_parts(
    desk: Desk, settings: Settings, purpose: LinkPurpose, path: str, texts: tuple[str, str]
) -> None:
    user = await add_user(desk)
    link = await request_link(desk, user, purpose)
    await desk.work(settings)

    (mail,) = read_files_to(settings, user.email)
    plain, html = get_parts(mail)
    token = make_link_token(desk.api.secret_key, desk.id, link.id)

    subject, said = texts
    assert mail["Subject"] == f"[Growfin] {subject}"
    assert f"\n{PUBLIC_URL}{path}#token={token}\n" in plain
    assert f'href="{PUBLIC_URL}{path}#token={token}"' in html
    assert html.count(token) == 2
    assert said in html
    for part in (plain, html):
        assert "at Growfin" in part
        assert PLACEHOLDER not in part
        assert "Mia" not in part
    async with desk.database.session(desk.id) as db:
        used = await links.use(db, links.parse_token(desk.api.secret_key, token), purpose)
        assert (used.user_id, used.email) == (user.id, user.email)


async def test_an_smtp_server_receives_the_complete_link(
    desk: Desk, server: TestServer, smtp_server: ScriptedSmtpServer
) -> None:
    user = await add_user(desk)
    link = await request_link(desk, user, LinkPurpose.RESET_PASSWORD)
    await desk.work(settings_for(server, smtp_url=smtp_server.url(), public_url=PUBLIC_URL))

    (envelope,) = [one for one in smtp_server.mails if one.rcpt_tos == [user.email]]
    assert isinstance(envelope.content, bytes)
    address = f"{PUBLIC_URL}/reset-password#token={make_link_token(desk.api.secret_key, desk.id, link.id)}"

    for part in get_parts(message_from_bytes(envelope.content, policy=email.policy.default)):
        assert address in part


async def test_a_link_leads_to_the_organisations_front_end_if_it_has_one(desk: Desk, settings: Settings) -> None:
    await execute_sql(desk, "UPDATE organisations SET app_url = 'https://app.growfin.test/users' WHERE id = :org")
    user = await add_user(desk)
    link = await request_link(desk, user, LinkPurpose.INVITATION)
    await desk.work(settings)

    (mail,) = read_files_to(settings, user.email)
    token = make_link_token(desk.api.secret_key, desk.id, link.id)

    for part in get_parts(mail):
        assert f"https://app.growfin.test/users/accept-invitation#token={token}" in part
        assert PUBLIC_URL not in part


async def test_a_link_is_mailed_to_the_address_that_it_verifies(desk: Desk) -> None:
    user, new_address = await add_user(desk), unique_address()
    await request_link(desk, user, LinkPurpose.CHANGE_EMAIL, new_address)
    await relay_events(desk)

    assert (await only_mail_to(desk, new_address)).subject == "[Growfin] Confirm your new e-mail address"
    assert await read_mails_to(desk, user.email) == []


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kathmandu"])
async def test_the_expiry_of_a_link_is_shown_in_the_organisations_time_zone(desk: Desk, timezone: str) -> None:
    await execute_sql(desk, "UPDATE organisations SET timezone = :zone WHERE id = :org", zone=timezone)
    user = await add_user(desk)
    link = await request_link(desk, user, LinkPurpose.VERIFY_EMAIL)
    await relay_events(desk)

    mail = await only_mail_to(desk, user.email)

    local = link.expires_at.astimezone(ZoneInfo(timezone))
    offset = "" if timezone == "UTC" else "+05:45"
    moment = f"{local.day} {local:%B %Y, %H:%M} UTC{offset}"
    assert mail.body_html
    assert f"until {moment}." in mail.body_text
    assert f"until <strong>{moment}</strong>." in mail.body_html


async def test_a_reset_mail_says_that_the_second_factor_stays(desk: Desk) -> None:
    user = await add_user(desk)
    await request_link(desk, user, LinkPurpose.RESET_PASSWORD)
    await relay_events(desk)

    mail = await only_mail_to(desk, user.email)

    for part in (mail.body_text, mail.body_html or ""):
        assert "If you did not request this, ignore this mail" in part
        assert "second factor" in part


@pytest.mark.parametrize(("purpose", "path"), [(purpose, path) for purpose, path, *_ in MAILED])
async def test_the_token_is_in_no_row_response_or_log_line(
    desk: Desk, settings: Settings, purpose: LinkPurpose, path: str
) -> None:
    user = await add_user(desk)
    with structlog.testing.capture_logs() as lines:
        await request_link(desk, user, purpose)
        await desk.work(settings)
        mail = await only_mail_to(desk, user.email)
        read = await read_notification(desk, mail.id)

    assert mail.status == "SENT"
    assert f"{path}#token=…" in read["body"]
    assert f"{path}#token=…" in read["bodyHtml"]
    assert PLACEHOLDER not in read["body"] + read["bodyHtml"]
    row = asdict(mail)
    assert {column.name for column in Mail.__table__.columns} <= row.keys()
    assert (row["link"], LINK_PREFIX in repr(row)) == (path, False)
    assert LINK_PREFIX not in repr(read)
    assert LINK_PREFIX not in repr(lines)


async def test_a_cancelled_or_expired_link_is_not_mailed(desk: Desk) -> None:
    used, expired, good = await add_user(desk), await add_user(desk), await add_user(desk)
    for user in (used, expired, good):
        await request_link(desk, user, LinkPurpose.RESET_PASSWORD)
    async with desk.database.session(desk.id) as db:
        await links.cancel(db, desk.id, used.id, LinkPurpose.RESET_PASSWORD)
    statement = "UPDATE links SET expires_at = :now WHERE org_id = :org AND user_id = :user"
    await execute_sql(desk, statement, now=real_now() - timedelta(seconds=1), user=expired.id)
    await relay_events(desk)

    assert [len(await read_mails_to(desk, user.email)) for user in (used, expired, good)] == [0, 0, 1]


async def test_a_link_of_an_erased_user_is_not_mailed(desk: Desk) -> None:
    user = await add_user(desk)
    await request_link(desk, user, LinkPurpose.RESET_PASSWORD)
    await execute_sql(desk, "UPDATE users SET status = 'ERASED' WHERE org_id = :org AND id = :user", user=user.id)
    await relay_events(desk)

    assert await read_mails_to(desk, user.email) == []


async def test_the_link_of_a_social_sign_in_is_never_mailed(desk: Desk) -> None:
    user = await add_user(desk)
    await request_link(desk, user, LinkPurpose.SIGN_IN)
    await relay_events(desk)

    assert await read_mails_to(desk, user.email) == []


async def test_a_link_mail_cannot_be_muted(desk: Desk) -> None:
    everything = ["TICKET_ASSIGNED", "TICKET_RESPONDED", "TICKET_CLOSING_SOON", "SIGN_UP_REQUESTS"]
    user = await add_user(desk, muted=everything)
    await request_link(desk, user, LinkPurpose.RESET_PASSWORD)
    await relay_events(desk)

    assert len(await read_mails_to(desk, user.email)) == 1


async def test_a_link_mail_that_cannot_be_written_fails_visibly(desk: Desk) -> None:
    await execute_sql(desk, "UPDATE organisations SET timezone = 'Atlantis/Capital' WHERE id = :org")
    user = await add_user(desk)
    await request_link(desk, user, LinkPurpose.RESET_PASSWORD)
    await relay_events(desk)

    mail = await only_mail_to(desk, user.email)

    assert (mail.status, mail.subject) == ("FAILED", "[Growfin] Reset password")
    assert re.match("The mail could not be written: ZoneInfoNotFoundError", mail.last_error or "")


def test_every_purpose_that_is_mailed_has_a_page() -> None:
    assert PAGES.keys() == set(LinkPurpose) - {LinkPurpose.SIGN_IN}


def test_mails_state_the_lifetimes_of_their_links() -> None:
    assert links.LIFETIMES[LinkPurpose.RESET_PASSWORD] == timedelta(minutes=30)
    assert links.LIFETIMES[LinkPurpose.INVITATION] == timedelta(days=7)

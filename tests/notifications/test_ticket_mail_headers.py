"""Headers of mails about tickets in the written files: sender, reply address and threads."""

from __future__ import annotations

import re

import pytest

from app.core.config import Settings
from tests.notifications.ticket_mails import read_ticket_mails_to
from tests.notifications.users import read_files_to, unique_address
from tests.organisation_client import Desk

pytestmark = pytest.mark.usefixtures("earlier_work_is_skipped")


async def test_the_sent_mail_is_the_logged_one_and_has_the_support_address_as_reply_to(
    desk: Desk, settings: Settings
) -> None:
    requester = unique_address()
    await desk.admin.patch("/org", {"supportEmail": "help@growfin.test"})
    ticket = await desk.open(addedBy=requester)
    await desk.respond(ticket, "Fixed.")
    await desk.work(settings)

    (mail,) = await read_ticket_mails_to(desk, ticket, requester)
    (sent,) = read_files_to(settings, requester)

    assert (mail["status"], mail["attempts"], mail["lastError"]) == ("SENT", 1, None)
    assert mail["sentAt"] >= mail["createdAt"]
    assert sent["Reply-To"] == "help@growfin.test"
    assert sent["Subject"] == mail["subject"]
    assert str(sent["Message-ID"]).startswith(f"<{mail['id']}@")
    plain = sent.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().split() == mail["body"].split()
    assert "help@growfin.test" in mail["body"]


async def test_without_a_support_address_there_is_no_reply_to(desk: Desk, settings: Settings) -> None:
    requester = unique_address()
    await desk.respond(await desk.open(addedBy=requester))
    await desk.work(settings)

    (sent,) = read_files_to(settings, requester)

    assert sent["Reply-To"] is None


async def test_all_mails_of_a_ticket_to_one_recipient_form_a_thread(desk: Desk, settings: Settings) -> None:
    requester, other_requester = unique_address(), unique_address()
    ticket, other = await desk.open(addedBy=requester), await desk.open(addedBy=other_requester)
    await desk.respond(ticket, "Try again.")
    await desk.work(settings)
    await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": "Cannot export March"})
    await desk.respond(ticket, "And now?")
    await desk.respond(other)
    await desk.admin.post("/org/clock/advance", {"days": 27})
    await desk.work(settings)

    thread = read_files_to(settings, requester)
    (foreign,) = read_files_to(settings, other_requester)[:1]

    assert len(thread) == 3
    assert {mail["Subject"] for mail in thread} == {f"[{ticket['reference']}] It broke"}
    assert {mail["References"] for mail in thread} == {mail["In-Reply-To"] for mail in thread}
    (root,) = {mail["References"] for mail in thread}
    assert re.fullmatch(r"<[^<>@\s]+@localhost>", root)
    assert len({mail["Message-ID"] for mail in thread} | {root}) == 4
    assert foreign["References"] != root


async def test_a_mail_is_from_the_organisation_over_the_services_address(desk: Desk, settings: Settings) -> None:
    requester = unique_address()
    await desk.admin.patch("/org", {"name": "Größe & Co."})
    await desk.respond(await desk.open(addedBy=requester))
    await desk.work(settings)

    (sent,) = read_files_to(settings, requester)
    (sender,) = sent["From"].addresses

    assert (sender.display_name, sender.addr_spec) == ("Größe & Co.", "tessera@localhost")


async def test_texts_of_tenants_cannot_inject_headers_or_html(desk: Desk, settings: Settings) -> None:
    requester = unique_address()
    await desk.admin.patch("/org", {"name": "Grow\tfin <script>"})
    ticket = await desk.open(addedBy=requester, title="One\nBcc: all@customer.example\nX: {{ 7 * 7 }}")
    await desk.respond(ticket, "<script>alert(1)</script>")
    await desk.work(settings)

    (sent,) = read_files_to(settings, requester)
    html = sent.get_body(("html",))

    assert sent["Bcc"] is None
    assert sent["X"] is None
    assert "Bcc: all@customer.example X: {{ 7 * 7 }}" in sent["Subject"]
    assert html is not None
    assert "<script>" not in html.get_content()

"""Mails about tickets, from the event to the written file."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from app.core.clock import real_now
from app.core.config import Settings
from app.core.database.pool import Database
from tests.notifications.ticket_mails import read_ticket_mails, read_ticket_mails_to
from tests.notifications.users import add_user, execute_sql, read_files_to, relay_events, unique_address
from tests.organisation_client import Api, Desk, create_desk

pytestmark = pytest.mark.usefixtures("earlier_work_is_skipped")


async def test_the_requester_is_mailed_a_reply(desk: Desk) -> None:
    requester = unique_address()
    ticket = await desk.open(addedBy=requester, title="Export <b>fails</b>")
    await desk.respond(ticket, "Fixed, & tested.")
    await relay_events(desk)

    (mail,) = await read_ticket_mails_to(desk, ticket, requester)

    assert (mail["status"], mail["channel"], mail["attempts"]) == ("QUEUED", "EMAIL", 0)
    assert mail["subject"] == f"[{ticket['reference']}] Export <b>fails</b>"
    assert "Fixed, & tested." in mail["body"]
    assert "Ada Lovelace of Growfin" in mail["body"]
    assert "Fixed, &amp; tested." in mail["bodyHtml"]


async def test_replies_are_mailed_in_order(desk: Desk) -> None:
    requester = unique_address()
    ticket = await desk.open(addedBy=requester)
    for place in range(5):
        await desk.respond(ticket, f"Reply {place}.")
    await relay_events(desk)

    bodies = [mail["body"] for mail in await read_ticket_mails_to(desk, ticket, requester)]

    assert [next(place for place in range(5) if f"Reply {place}." in body) for body in bodies] == [0, 1, 2, 3, 4]


async def test_a_change_of_status_without_a_reply_sends_no_mail(desk: Desk) -> None:
    requester = unique_address()
    ticket = await desk.open(addedBy=requester)
    for status in ("RESPONDED", "CLOSED", "OPEN"):
        await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": status})
    await relay_events(desk)

    assert await read_ticket_mails_to(desk, ticket, requester) == []


async def test_the_assignee_is_mailed_when_a_ticket_is_opened(desk: Desk) -> None:
    requester = unique_address()
    ticket = await desk.open(addedBy=requester, priority="HIGH", description="All of it.\nReally.")
    await relay_events(desk)

    (mail,) = await read_ticket_mails(desk, ticket)

    assert mail["to"] == desk.admin.email
    assert mail["subject"] == f"[{ticket['reference']}] It broke"
    for expected_text in ("Hello Ada,", "High", requester, "All of it.\nReally."):
        assert expected_text in mail["body"]


async def test_each_new_assignee_is_mailed_and_unassigning_mails_nobody(desk: Desk) -> None:
    bo = await desk.another_admin(available=False)
    ticket = await desk.open()
    for assignee_id in (str(bo.id), None, str(desk.admin.id)):
        await desk.admin.patch(f"/tickets/{ticket['id']}", {"adminId": assignee_id})
    await relay_events(desk)

    recipients = [mail["to"] for mail in await read_ticket_mails(desk, ticket)]

    assert recipients == [desk.admin.email, bo.email, desk.admin.email]


async def test_the_assignee_of_a_waiting_ticket_is_mailed(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    ticket = await desk.open()
    await relay_events(desk)
    assert await read_ticket_mails(desk, ticket) == []

    bo = await desk.another_admin()
    await relay_events(desk)

    assert [mail["to"] for mail in await read_ticket_mails(desk, ticket)] == [bo.email]


async def test_the_requester_is_mailed_three_days_before_the_ticket_closes(desk: Desk) -> None:
    requester = unique_address()
    ticket = await desk.open(addedBy=requester)
    responded = (await desk.respond(ticket))["ticket"]
    assert (await desk.admin.post("/org/clock/advance", {"days": 27})).status_code == 200

    *_, reminder = await read_ticket_mails_to(desk, ticket, requester)

    assert reminder["subject"] == f"[{ticket['reference']}] It broke"
    closes_at = datetime.fromisoformat(responded["autoCloseAt"])
    assert f"The ticket will close automatically on {closes_at.day} {closes_at:%B %Y, %H:%M} UTC" in reminder["body"]


async def test_an_automatic_close_sends_no_mail(desk: Desk) -> None:
    requester = unique_address()
    ticket = await desk.open(addedBy=requester)
    await desk.respond(ticket)
    await desk.admin.post("/org/clock/advance", {"days": 31})

    bodies = [mail["body"] for mail in await read_ticket_mails_to(desk, ticket, requester)]

    assert len(bodies) == 2
    assert "Fixed." in bodies[0]
    assert "have not heard from you" in bodies[1]


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
async def test_times_in_mails_are_in_the_organisations_time_zone(desk: Desk, timezone: str) -> None:
    requester = unique_address()
    assert (await desk.admin.patch("/org", {"timezone": timezone})).status_code == 200
    ticket = await desk.open(addedBy=requester)
    responded = (await desk.respond(ticket))["ticket"]
    await desk.admin.post("/org/clock/advance", {"days": 27})

    reply, reminder = await read_ticket_mails_to(desk, ticket, requester)

    local = datetime.fromisoformat(responded["autoCloseAt"]).astimezone(ZoneInfo(timezone))
    offset = f"{local:%z}"
    moment = f"{local.day} {local:%B %Y, %H:%M} UTC{offset[:3]}:{offset[3:]}"
    for mail in (reply, reminder):
        assert moment in mail["body"]
        assert moment in mail["bodyHtml"]


@pytest.mark.parametrize(
    ("path", "link"),
    [
        (None, "https://desk.growfin.com/app/tickets/{id}"),
        ("/#/t/{reference}?id={id}", "https://desk.growfin.com/app/#/t/{reference}?id={id}"),
    ],
)
async def test_the_assignees_mail_links_to_the_ticket(desk: Desk, path: str | None, link: str) -> None:
    changes = {"appUrl": "https://desk.growfin.com/app"} | ({"ticketPath": path} if path else {})
    assert (await desk.admin.patch("/org", changes)).status_code == 200
    ticket = await desk.open()
    await relay_events(desk)

    (mail,) = await read_ticket_mails_to(desk, ticket, desk.admin.email)

    link = link.format(**ticket)
    assert f"Open it:   {link}\n" in mail["body"]
    assert f'href="{link}"' in mail["bodyHtml"]


async def test_a_mail_leads_requesters_where_they_can_go(desk: Desk) -> None:
    customer = await add_user(desk, email_verified_at=real_now())
    requester = unique_address()
    await desk.admin.patch("/org", {"appUrl": "https://desk.growfin.com", "supportEmail": "help@growfin.test"})
    own, other = await desk.open(addedBy=customer.email), await desk.open(addedBy=requester)
    for ticket in (own, other):
        await desk.respond(ticket)
    await desk.admin.post("/org/clock/advance", {"days": 27})

    to_customer = await read_ticket_mails_to(desk, own, customer.email)
    to_requester = await read_ticket_mails_to(desk, other, requester)

    assert [len(to_customer), len(to_requester)] == [2, 2]
    for mail in to_customer:
        assert f"write to help@growfin.test or visit https://desk.growfin.com/tickets/{own['id']}" in mail["body"]
    for mail in to_requester:
        assert re.search(r"write to help@growfin.test or visit https://desk.growfin.com( before then)?\.", mail["body"])


async def test_concurrent_and_repeated_work_mails_nothing_twice(desk: Desk, settings: Settings) -> None:
    requester = unique_address()
    ticket = await desk.open(addedBy=requester)
    await desk.respond(ticket)
    await asyncio.gather(desk.work(settings), desk.work(settings), desk.work(settings))
    await desk.work(settings)

    assert len(await read_ticket_mails(desk, ticket)) == 2  # one to the assignee, one to the requester
    assert len(read_files_to(settings, requester)) == 1


async def test_an_invalid_address_fails_without_affecting_others(desk: Desk, settings: Settings) -> None:
    bad, good = await desk.open(addedBy=unique_address()), await desk.open(addedBy=unique_address())
    await execute_sql(
        desk, "UPDATE requesters SET email = 'no address' WHERE org_id = :org AND email = :bad", bad=bad["addedBy"]
    )
    for ticket in (bad, good):
        await desk.respond(ticket)
    await desk.work(settings)

    (failed,) = await read_ticket_mails_to(desk, bad, "no address")
    (sent,) = await read_ticket_mails_to(desk, good, good["addedBy"])

    assert (failed["status"], failed["attempts"], failed["sentAt"]) == ("FAILED", 1, None)
    assert failed["lastError"]
    assert (sent["status"], sent["lastError"]) == ("SENT", None)
    assert len(read_files_to(settings, good["addedBy"])) == 1


async def test_a_mail_that_cannot_be_written_fails_without_affecting_others(
    desk: Desk, settings: Settings, api: Api, database: Database
) -> None:
    other = await create_desk(api, database)
    # As if the zone had been dropped from the time zone database.
    await execute_sql(desk, "UPDATE organisations SET timezone = 'Atlantis/Capital' WHERE id = :org")
    bad, good = await desk.open(addedBy=unique_address()), await other.open(addedBy=unique_address())
    await desk.respond(bad)
    await other.respond(good)
    await desk.work(settings)

    failed = await read_ticket_mails(desk, bad)
    (sent,) = await read_ticket_mails_to(other, good, good["addedBy"])

    assert {mail["status"] for mail in failed} == {"FAILED"}
    assert [mail["to"] for mail in failed] == [desk.admin.email, bad["addedBy"]]
    assert "The mail could not be written: ZoneInfoNotFoundError" in failed[1]["lastError"]
    assert (failed[1]["attempts"], failed[1]["subject"]) == (0, f"[{bad['reference']}] It broke")
    assert sent["status"] == "SENT"
    assert read_files_to(settings, bad["addedBy"]) == []
    pending = (await desk.admin.get("/jobs")).json()["pending"]
    assert (pending["deliveries"], pending["parkedEvents"]) == (0, 0)


async def test_an_event_about_a_deleted_ticket_is_skipped(desk: Desk) -> None:
    ticket = await desk.open()
    other = await desk.open()
    await execute_sql(desk, "DELETE FROM tickets WHERE org_id = :org AND id = :id", id=UUID(ticket["id"]))
    await relay_events(desk)

    assert await read_ticket_mails(desk, ticket) == []
    assert len(await read_ticket_mails(desk, other)) == 1

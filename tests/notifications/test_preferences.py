"""Mails that users have muted, and mails to erased users."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.accounts.profiles.mail_kinds import MailKind
from app.accounts.users.models import User
from tests.notifications.users import add_user, execute_sql, read_mails_to, relay_events, unique_address
from tests.organisation_client import JSON, Desk
from tests.tickets.rows import give_to_account

BY_SENTENCE = {
    "has replied to your ticket": MailKind.TICKET_RESPONDED,
    "have not heard from you since": MailKind.TICKET_CLOSING_SOON,
}
ERASED = "0190b8e5@erased.invalid"


async def open_ticket_of(desk: Desk, requester: User | None, requester_email: str) -> JSON:
    """Open a ticket, and link it to the requester's account if there is one."""
    ticket = await desk.open(addedBy=requester_email)
    if requester:
        await give_to_account(desk, requester.id, f"id = '{ticket['id']}'")
    return ticket


async def reply_and_remind(desk: Desk, ticket: JSON) -> None:
    await desk.respond(ticket)
    assert (await desk.admin.post("/org/clock/advance", {"days": 27})).status_code == 200
    await relay_events(desk)


async def kinds_mailed_to(desk: Desk, address: str) -> set[MailKind]:
    texts = [mail.body_text for mail in await read_mails_to(desk, address)]
    return {kind for text in texts for sentence, kind in BY_SENTENCE.items() if sentence in text}


async def mute(desk: Desk, user_id: UUID, *kinds: MailKind) -> None:
    statement = "UPDATE users SET muted = :kinds WHERE org_id = :org AND id = :user"
    await execute_sql(desk, statement, user=user_id, kinds=[kind.value for kind in kinds])


@pytest.mark.parametrize("muted", [(), *((kind,) for kind in MailKind), tuple(MailKind)])
async def test_a_requester_is_mailed_what_they_have_not_muted(desk: Desk, muted: tuple[MailKind, ...]) -> None:
    requester = await add_user(desk, muted=list(muted))
    await reply_and_remind(desk, await open_ticket_of(desk, requester, requester.email))

    assert await kinds_mailed_to(desk, requester.email) == set(BY_SENTENCE.values()) - set(muted)


async def test_a_requester_is_mailed_at_their_current_address(desk: Desk) -> None:
    old = unique_address()
    requester = await add_user(desk)
    await reply_and_remind(desk, await open_ticket_of(desk, requester, old))

    assert await kinds_mailed_to(desk, requester.email) == set(BY_SENTENCE.values())
    assert await kinds_mailed_to(desk, old) == set()


async def test_a_requester_without_an_account_is_mailed_everything(desk: Desk) -> None:
    address = unique_address()
    await add_user(desk, email=f"x{address}", muted=list(MailKind))
    await reply_and_remind(desk, await open_ticket_of(desk, None, address))

    assert await kinds_mailed_to(desk, address) == set(BY_SENTENCE.values())


@pytest.mark.parametrize("muted", [(), *((kind,) for kind in MailKind)])
async def test_an_assignee_is_mailed_unless_they_have_muted_it(desk: Desk, muted: tuple[MailKind, ...]) -> None:
    await mute(desk, desk.admin.id, *muted)
    await desk.open()
    await relay_events(desk)

    assert len(await read_mails_to(desk, desk.admin.email)) == (MailKind.TICKET_ASSIGNED not in muted)


async def test_one_assignee_who_muted_mails_does_not_affect_another(desk: Desk) -> None:
    bo = await desk.another_admin()
    await mute(desk, desk.admin.id, *MailKind)
    for _ in range(4):
        await desk.open()
    await relay_events(desk)

    assert [len(await read_mails_to(desk, admin.email)) for admin in (desk.admin, bo)] == [0, 2]


async def test_an_erased_requester_is_not_mailed(desk: Desk) -> None:
    ticket = await desk.open()
    statement = "UPDATE requesters SET email = :erased WHERE org_id = :org AND id = :id"
    await execute_sql(desk, statement, erased=ERASED, id=UUID(ticket["requester"]["id"]))
    await reply_and_remind(desk, ticket)

    assert await read_mails_to(desk, ERASED) == []


async def test_an_erased_assignee_is_not_mailed(desk: Desk) -> None:
    await desk.open()
    await execute_sql(desk, "UPDATE users SET email = :erased WHERE org_id = :org", erased=ERASED)
    await relay_events(desk)

    assert await read_mails_to(desk, ERASED) == []

"""Erasing users from the notification log."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.events import EmailChanged, PasswordChanged, UserErased
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, ReactionOnly
from app.core.outbox.models import DELIVER, Delivery, EventRow, Timer
from app.notifications import erasure, mails
from app.notifications.mails import MailDraft
from app.notifications.models import Mail
from app.tickets.events import TicketAssigned
from tests.conftest import settings_for
from tests.notifications.users import (
    add_user,
    execute_sql,
    get_parts,
    make_event,
    read_files_to,
    read_mails_to,
    record_and_relay,
    relay_events,
    request_link,
    unique_address,
)
from tests.organisation_client import Api, Desk, SignedInUser, create_desk, open_session
from tests.postgres import TestServer
from tests.tickets.rows import give_to_account, skip_earlier_work


async def queue(desk: Desk, address: str, *tickets: UUID | None, error: str | None = None) -> None:
    """Queue a mail about each of these tickets, or about none."""
    drafts = [
        MailDraft(recipient=address, subject="A mail", text="Text.", ticket_id=ticket, error=error)
        for ticket in tickets
    ]
    async with desk.database.session(desk.id) as db:
        await mails.queue(db, desk.id, drafts)


async def engineer_signed_in(desk: Desk, last_name: str) -> SignedInUser:
    return await open_session(desk, await add_user(desk, role_kind="ENGINEER", last_name=last_name))


def identity_of(user: User) -> dict[str, ReactionOnly[str]]:
    return {"name": ReactionOnly(f"{user.first_name} {user.last_name}"), "email": ReactionOnly(user.email)}


async def erase(desk: Desk, user: User, *, verified: bool) -> None:
    await record_and_relay(
        desk, make_event(UserErased, user, **identity_of(user), email_was_verified=ReactionOnly(verified))
    )


async def count_timers(desk: Desk) -> int:
    async with desk.database.session(desk.id) as db:
        conditions = (Timer.org_id == desk.id, Timer.kind == DELIVER)
        return await db.scalar(select(func.count()).select_from(Timer).where(*conditions)) or 0


async def test_mails_to_an_erased_user_are_deleted_with_their_timers(
    desk: Desk, server: TestServer, database: Database, tmp_path: Path
) -> None:
    await skip_earlier_work(database)
    user, other = await add_user(desk), unique_address()
    ticket_id = UUID((await desk.open())["id"])
    await relay_events(desk)
    assert await count_timers(desk) == 1  # the assignee's
    await queue(desk, user.email, None, ticket_id)
    await queue(desk, user.email, None, error="No.")
    await queue(desk, other, None, ticket_id)

    await erase(desk, user, verified=True)

    assert await read_mails_to(desk, user.email) == []
    assert len(await read_mails_to(desk, other)) == 2
    assert await count_timers(desk) == 3
    settings = settings_for(server, data_dir=tmp_path)
    await desk.work(settings)
    assert (len(read_files_to(settings, other)), read_files_to(settings, user.email)) == (2, [])


async def test_mails_about_tickets_of_an_unverified_address_are_kept(desk: Desk) -> None:
    user = await add_user(desk)
    ticket_id = UUID((await desk.open())["id"])
    await queue(desk, user.email, None, ticket_id, None)

    await erase(desk, user, verified=False)

    assert [mail.ticket_id for mail in await read_mails_to(desk, user.email)] == [ticket_id]


@pytest.mark.parametrize("verified", [True, False])
async def test_mails_to_others_about_the_users_tickets_are_deleted(desk: Desk, verified: bool) -> None:
    user, other = await add_user(desk), await add_user(desk)
    theirs, others, unowned = [UUID((await desk.open(addedBy=unique_address()))["id"]) for _ in range(3)]
    for ticket_id, owner in ((theirs, user), (others, other)):
        await give_to_account(desk, owner.id, f"id = '{ticket_id}'")
    await relay_events(desk)  # the assignee is mailed about each
    await queue(desk, user.email, None, theirs, unowned)

    await erase(desk, user, verified=verified)

    about = [mail.ticket_id for mail in await read_mails_to(desk, desk.admin.email)]
    assert about == [others, unowned]
    assert [mail.ticket_id for mail in await read_mails_to(desk, user.email)] == ([] if verified else [unowned])
    async with desk.database.session(desk.id) as db:
        bodies = await db.scalars(select(Mail.body_text).where(Mail.org_id == desk.id))
    assert [body for body in bodies if user.email in body] == []


async def test_tickets_that_the_erasure_links_to_the_user_count_as_theirs(desk: Desk) -> None:
    user = await add_user(desk)
    await desk.open(addedBy=user.email)
    await execute_sql(desk, "UPDATE requesters SET user_id = NULL WHERE org_id = :org")
    await relay_events(desk)
    assert len(await read_mails_to(desk, desk.admin.email)) == 1

    await erase(desk, user, verified=True)

    assert await read_mails_to(desk, desk.admin.email) == []


async def test_a_cancelled_invitation_deletes_all_mails_except_mails_about_tickets(desk: Desk) -> None:
    email = unique_address()
    body = {"firstName": "Bo", "lastName": "Ek", "role": "ENGINEER", "email": email}
    ticket_id = UUID((await desk.open(addedBy=email))["id"])
    invited = (await desk.admin.post("/users", body)).json()
    await relay_events(desk)
    await queue(desk, email, ticket_id)
    assert [mail.ticket_id for mail in await read_mails_to(desk, email)] == [None, ticket_id]

    assert (await desk.admin.delete(f"/users/{invited['id']}/invitation")).status_code == 204

    assert [mail.ticket_id for mail in await read_mails_to(desk, email)] == [ticket_id]


async def test_another_organisations_mails_to_the_same_address_are_kept(
    desk: Desk, api: Api, database: Database
) -> None:
    stranger, user = await create_desk(api, database), await add_user(desk)
    for organisation in (desk, stranger):
        await queue(organisation, user.email, None)

    await erase(desk, user, verified=True)

    assert [len(await read_mails_to(organisation, user.email)) for organisation in (desk, stranger)] == [0, 1]


@pytest.mark.parametrize("more", [0, 1])
async def test_many_mails_are_deleted_in_batches(desk: Desk, more: int) -> None:
    user = await add_user(desk)
    await queue(desk, user.email, *[None] * (2 * erasure.MAILS_PER_BATCH + more))

    await erase(desk, user, verified=True)

    assert await read_mails_to(desk, user.email) == []
    assert await count_timers(desk) == 0


async def test_content_and_delivery_are_deleted_together(desk: Desk) -> None:
    user = await add_user(desk)
    await queue(desk, user.email, None, None)

    await erase(desk, user, verified=True)

    async with desk.database.session(desk.id) as db:
        for table in (Delivery, Mail):
            assert await db.scalar(select(func.count()).select_from(table).where(table.org_id == desk.id)) == 0


async def test_an_erasure_that_is_rolled_back_deletes_nothing(desk: Desk) -> None:
    user = await add_user(desk)
    await queue(desk, user.email, None)
    async with desk.database.session(desk.id) as db:
        event = make_event(UserErased, user, **identity_of(user), email_was_verified=ReactionOnly(True))
        await erasure.erase_mails(db, desk.id, event)
        await db.rollback()

    assert len(await read_mails_to(desk, user.email)) == 1


async def test_the_event_of_an_erasure_holds_no_personal_data(desk: Desk) -> None:
    user = await add_user(desk)
    await erase(desk, user, verified=True)
    async with desk.database.session(desk.id) as db:
        conditions = (EventRow.org_id == desk.id, EventRow.type == UserErased.type)
        (row,) = (await db.scalars(select(EventRow).where(*conditions))).all()

    assert (row.subject_id, row.data) == (user.id, {})


async def test_mails_to_the_users_former_addresses_are_deleted(desk: Desk) -> None:
    user, before = await add_user(desk, role_kind="ENGINEER"), unique_address()
    given = await desk.open(addedBy=unique_address())
    await execute_sql(
        desk, "UPDATE users SET email = :email WHERE org_id = :org AND id = :id", email=before, id=user.id
    )
    await record_and_relay(
        desk,
        make_event(PasswordChanged, user),
        TicketAssigned(at=real_now(), actor=SYSTEM, ticket_id=UUID(given["id"]), assignee_id=user.id),
    )
    await execute_sql(
        desk, "UPDATE users SET email = :email WHERE org_id = :org AND id = :id", email=user.email, id=user.id
    )
    await record_and_relay(desk, make_event(EmailChanged, user, old_email=ReactionOnly(before)))
    assert len(await read_mails_to(desk, before)) == 3
    link = await request_link(desk, user, LinkPurpose.CHANGE_EMAIL, elsewhere := unique_address())
    await relay_events(desk)
    assert [mail.link_id for mail in await read_mails_to(desk, elsewhere)] == [link.id]

    await erase(desk, user, verified=False)

    assert await read_mails_to(desk, before) == await read_mails_to(desk, elsewhere) == []


async def test_mails_to_others_no_longer_name_the_user(desk: Desk, server: TestServer, tmp_path: Path) -> None:
    writer, colleague = await engineer_signed_in(desk, "O'Neill"), await engineer_signed_in(desk, "Ek")
    requester, settings = unique_address(), settings_for(server, data_dir=tmp_path)
    ticket = await desk.open(addedBy=requester)
    for author in (writer, colleague):
        assert (await author.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})).status_code == 201
    await desk.work(settings)
    assert (await writer.post(f"/tickets/{ticket['id']}/respond", {"message": "Again."})).status_code == 201
    await relay_events(desk)
    named = [mail for mail in await read_mails_to(desk, requester) if "Neill" in f"{mail.body_text} {mail.body_html}"]
    assert [mail.status for mail in named] == ["SENT", "QUEUED"]

    assert (await desk.admin.delete(f"/users/{writer.id}")).status_code == 204

    sent, by_colleague, waiting = await read_mails_to(desk, requester)
    assert (sent.body_text, sent.body_html) == (erasure.ERASED_TEXT, None)
    assert "Ek of Growfin has replied" in by_colleague.body_text
    assert "A team member of Growfin has replied" in waiting.body_text
    assert waiting.body_html is not None
    assert "A team member of Growfin has replied" in waiting.body_html
    assert [one for one in (sent, waiting) if "Neill" in f"{one.body_text} {one.body_html}"] == []
    await desk.work(settings)
    assert ["A team member of" in get_parts(mail)[0] for mail in read_files_to(settings, requester)].count(True) == 1

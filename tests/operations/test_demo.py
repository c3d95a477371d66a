"""`tessera demo` on a real database, while a worker's relay is running."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections import Counter
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from sqlalchemy import func, select

from app import wiring
from app.access.callers import UserCaller
from app.accounts.users.models import User
from app.authentication.sessions.queries import principal_of
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox import relay, timers
from app.core.outbox.models import Counter as CounterRow
from app.core.outbox.models import EventRow, Relay, Timer
from app.core.security.secret_keys import hash_secret_key
from app.main import create_app
from app.notifications.models import Mail
from app.operations.demo import PAUSED_SEQ, create_demo
from app.organisations.models import Organisation
from app.organisations.queries import find_by_secret_hash, get_tenant
from app.requesters.models import Requester
from app.tickets.auto_close.rules import AUTO_CLOSE, AUTO_CLOSE_REMINDER
from app.tickets.comments.models import Comment
from app.tickets.comments.service import respond
from app.tickets.models import Ticket, TicketStatus
from app.tickets.search.models import TicketSearch
from app.tickets.search.rules import INDEX_TICKETS
from tests.operations import Deployment, running_deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from uuid import UUID

TICKETS = 60


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with running_deployment() as created:
        yield created


@pytest.fixture(scope="module")
async def database(deployment: Deployment) -> AsyncIterator[Database]:
    database = wiring.make_database(deployment.settings)
    yield database
    await database.dispose()


@pytest.fixture(scope="module")
async def summary(deployment: Deployment, database: Database) -> str:
    async with running_relay(database):
        return await create_demo(deployment.settings, TICKETS, wiring.NUMBERING_WITHOUT_REACTIONS)


@pytest.fixture(scope="module")
async def org_id(summary: str, database: Database) -> UUID:
    assert summary
    return await find_newest_organisation(database)


@asynccontextmanager
async def running_relay(database: Database) -> AsyncIterator[None]:
    """Relay new events continuously, like the worker of another process."""

    async def run() -> None:
        while True:
            await relay.relay_new_events(database, wiring.SUBSCRIBERS)
            await asyncio.sleep(0.01)

    running = asyncio.create_task(run())
    yield
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def find_newest_organisation(database: Database) -> UUID:
    async with database.session(None) as db:
        return (
            await db.execute(select(Organisation.id).order_by(Organisation.created_at.desc()).limit(1))
        ).scalar_one()


async def read_rows(database: Database, org_id: UUID, model: Any) -> list[Any]:
    async with database.session(org_id) as db:
        return list(await db.scalars(select(model).where(model.org_id == org_id)))


def read_value(label: str, summary: str) -> str:
    found = re.search(rf"^{label} +(\S+)$", summary, re.MULTILINE)
    assert found is not None, summary
    return found[1]


async def test_a_sandbox_has_four_admins_and_the_tickets(summary: str, database: Database, org_id: UUID) -> None:
    organisation = await find_by_secret_hash(database, hash_secret_key(read_value("secret", summary)))
    assert organisation is not None
    assert organisation.id == org_id
    assert organisation.sandbox
    assert re.fullmatch(r"demo-[a-z0-9]{6}\.example", organisation.domain)
    assert summary.startswith(f"The sandbox organisation {organisation.domain} has 60 new tickets. No mail is sent")
    tickets = await read_rows(database, org_id, Ticket)
    assert [ticket.number for ticket in sorted(tickets, key=lambda t: t.number)] == list(range(1, TICKETS + 1))
    assert len({ticket.assignee_id for ticket in tickets}) == 4


async def test_every_admin_signs_in_with_the_printed_password(summary: str, deployment: Deployment) -> None:
    emails = re.findall(r"^(?:admins)? +(\S+@\S+)$", summary, re.MULTILINE)
    assert len(emails) == 4
    async with LifespanManager(create_app(deployment.settings.model_copy(update={"worker": "off"}))) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url=deployment.settings.base_url) as client:
            for email in emails:
                body = {"email": email, "password": read_value("password", summary)}
                response = await client.post("/auth/admin/signin", json=body)
                assert (response.status_code, response.json()["user"]["email"]) == (200, email)


async def test_the_summary_ends_with_a_command_that_signs_in(summary: str, deployment: Deployment) -> None:
    command = shlex.split(summary[summary.index("curl") :])
    assert command[:2] == ["curl", f"{deployment.settings.base_url}/auth/admin/signin"]
    body = json.loads(command[-1])
    assert body["password"] == read_value("password", summary)
    assert f"admins    {body['email']}\n" in summary


async def test_the_tickets_are_varied_and_spread_over_two_months(database: Database, org_id: UUID) -> None:
    tickets = await read_rows(database, org_id, Ticket)
    assert {ticket.status for ticket in tickets} == set(TicketStatus)
    assert len({ticket.title for ticket in tickets}) > 30
    requesters = {one.id: one for one in await read_rows(database, org_id, Requester)}
    assert len({ticket.requester_id for ticket in tickets}) > 30
    assert all(one.email.endswith(".example") and one.name for one in requesters.values())
    assert len(Counter(ticket.priority for ticket in tickets)) == 4
    ages = sorted((real_now() - ticket.created_at) / timedelta(days=1) for ticket in tickets)
    assert 0 < ages[0] < 2
    assert 58 < ages[-1] < 60.1
    by_number = sorted(tickets, key=lambda ticket: ticket.number)
    assert by_number == sorted(tickets, key=lambda ticket: ticket.created_at)


async def test_events_of_a_ticket_are_in_order_and_in_the_past(database: Database, org_id: UUID) -> None:
    events = sorted(await read_rows(database, org_id, EventRow), key=lambda event: event.seq)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    for ticket in await read_rows(database, org_id, Ticket):
        moments = [event.created_at for event in events if event.subject_id == ticket.id]
        assert moments == sorted(moments)
        assert (moments[0], moments[-1]) == (ticket.created_at, ticket.updated_at)
        assert ticket.updated_at <= min(real_now(), ticket.created_at + timedelta(days=5))
    responded = {comment.ticket_id for comment in await read_rows(database, org_id, Comment)}
    assert responded == {ticket.id for ticket in await read_rows(database, org_id, Ticket) if ticket.responded_at}


async def test_only_responded_tickets_have_timers_and_none_is_due(database: Database, org_id: UUID) -> None:
    tickets = await read_rows(database, org_id, Ticket)
    all_timers = await read_rows(database, org_id, Timer)
    responded = {ticket.id for ticket in tickets if ticket.status == TicketStatus.RESPONDED}
    for kind in (AUTO_CLOSE, AUTO_CLOSE_REMINDER):
        assert {timer.subject_id for timer in all_timers if timer.kind == kind} == responded
    assert responded
    assert min(timer.due_at for timer in all_timers if timer.kind != INDEX_TICKETS) > real_now() + timedelta(hours=12)
    assert {timer.kind for timer in all_timers} <= {AUTO_CLOSE, AUTO_CLOSE_REMINDER, INDEX_TICKETS}
    assert await timers.run_due(database, wiring.TICKET_TIMERS) == 0
    assert min(ticket.created_at for ticket in tickets if ticket.id in responded) > real_now() - timedelta(
        days=26, hours=1
    )


async def test_tickets_can_be_searched_once_the_worker_has_indexed_them(
    summary: str, deployment: Deployment, database: Database, org_id: UUID
) -> None:
    assert [timer.subject_id for timer in await read_rows(database, org_id, Timer) if timer.kind == INDEX_TICKETS] == [
        org_id
    ]
    assert await timers.run_due(database, wiring.TIMERS) == 1
    tickets = {ticket.number: ticket for ticket in await read_rows(database, org_id, Ticket)}
    requesters = {one.id: one for one in await read_rows(database, org_id, Requester)}
    comments = await read_rows(database, org_id, Comment)
    assert len(await read_rows(database, org_id, TicketSearch)) == len(tickets)
    async with LifespanManager(create_app(deployment.settings.model_copy(update={"worker": "off"}))) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url=deployment.settings.base_url) as client:

            async def found(q: str) -> set[int]:
                params: dict[str, Any] = {"q": q, "limit": 100}
                response = await client.get(
                    "/tickets", params=params, headers={"X-Org-Secret": read_value("secret", summary)}
                )
                return {ticket["number"] for ticket in response.json()["items"]}

            for number, ticket in tickets.items():
                same = {other.number for other in tickets.values() if other.title == ticket.title}
                assert same <= await found(" ".join(ticket.title.split()[:8]))
                assert number in await found(requesters[ticket.requester_id].email)
            assert comments
            for comment in comments[:10]:
                (number,) = [number for number, ticket in tickets.items() if ticket.id == comment.ticket_id]
                assert number in await found(" ".join(comment.message.split()[:5]))


async def test_mails_are_sent_for_later_events_and_not_for_demo_events(database: Database, org_id: UUID) -> None:
    assert await relay.relay_new_events(database, wiring.SUBSCRIBERS) == 0
    assert await read_rows(database, org_id, Mail) == []
    ticket = next(t for t in await read_rows(database, org_id, Ticket) if t.status == TicketStatus.OPEN)
    async with database.session(org_id) as db:
        row = await db.get_one(User, (org_id, ticket.assignee_id))
        admin = principal_of(row, new_id(), authenticated_at=real_now())
        caller = UserCaller(tenant=await get_tenant(db, org_id), user=admin, now=real_now())
        await respond(db, caller, ticket.id, "Please try again.", lambda _version: None)
    assert await relay.relay_new_events(database, wiring.SUBSCRIBERS) > 0
    async with database.session(org_id) as db:
        requester = await db.get_one(Requester, (org_id, ticket.requester_id))
    assert [mail.recipient for mail in await read_rows(database, org_id, Mail)] == [requester.email]


async def test_no_mail_is_sent_when_the_demo_fails_midway(deployment: Deployment, database: Database) -> None:
    await deployment.execute_as_owner("ALTER TABLE tickets ADD CONSTRAINT few CHECK (number <= 45) NOT VALID")
    try:
        async with running_relay(database):
            with pytest.raises(ExceptionGroup, match="TaskGroup"):
                await create_demo(deployment.settings, TICKETS, wiring.NUMBERING_WITHOUT_REACTIONS)
    finally:
        await deployment.execute_as_owner("ALTER TABLE tickets DROP CONSTRAINT few")
    org_id = await find_newest_organisation(database)
    assert await relay.relay_new_events(database, wiring.SUBSCRIBERS) == 0
    assert await read_rows(database, org_id, Mail) == []
    assert 0 < len(await read_rows(database, org_id, Ticket)) < TICKETS
    async with database.session(org_id) as db:
        relayed = await db.scalar(select(Relay.last_seq).where(Relay.org_id == org_id))
        happened = await db.scalar(select(CounterRow.last_event).where(CounterRow.org_id == org_id))
        events = await db.scalar(select(func.count()).select_from(EventRow).where(EventRow.org_id == org_id))
    assert relayed == happened == events


async def test_no_mail_is_sent_when_the_demo_is_cancelled_midway(deployment: Deployment, database: Database) -> None:
    before = await find_newest_organisation(database)
    filling = asyncio.create_task(create_demo(deployment.settings, 500, wiring.NUMBERING_WITHOUT_REACTIONS))
    while (org_id := await find_newest_organisation(database)) == before:  # noqa: ASYNC110 - another pool creates it
        await asyncio.sleep(0.01)
    seq_while_filling = (await read_rows(database, org_id, Relay))[0].last_seq
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    seq_after_cancel = (await read_rows(database, org_id, Relay))[0].last_seq
    assert seq_while_filling == PAUSED_SEQ
    assert seq_after_cancel == (await read_rows(database, org_id, CounterRow))[0].last_event
    assert await relay.relay_new_events(database, wiring.SUBSCRIBERS) == 0
    assert await read_rows(database, org_id, Mail) == []

"""What must hold after the kills, read over HTTP, from the database, and from the mail server."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from typing import TYPE_CHECKING, Any

from tests.kills.load import EventSummary, Load, TicketRecord, UserRecord
from tests.smtp_server import SmtpServer
from tests.tessera_process import Client

if TYPE_CHECKING:
    import asyncpg

    from tests.databases import Superuser

CONCURRENT_READS = 8
OPENING: list[EventSummary] = [("ticket.created",), ("ticket.assigned",)]
# The mails that an event about a ticket causes: one each, to the assignee or to the requester.
TO_ASSIGNEE = ("ticket.assigned",)
TO_REQUESTER = ("ticket.responded", "ticket.closing_soon")


@dataclass(frozen=True)
class Stored:
    """A ticket in the database, with its events in order."""

    id: str
    title: str
    status: str
    priority: str
    version: int
    events: list[EventSummary]
    comments: int


def summarise(event: Mapping[str, Any] | asyncpg.Record) -> EventSummary:
    """Return the event's type, with the values before and after of a change of status or priority."""
    data = json.loads(event["data"])
    match event["type"]:
        case "ticket.status_changed":
            return (event["type"], data["from"], data["to"])
        case "ticket.updated":
            (change,) = data["changes"].values()
            return (event["type"], change["from"], change["to"])
        case other:
            return (other,)


async def read_stored(superuser: Superuser, org_id: object) -> list[Stored]:
    """Read an organisation's tickets."""
    events: dict[str, list[EventSummary]] = defaultdict(list)
    sql = "SELECT subject_id, type, data FROM events WHERE org_id = $1 ORDER BY seq"
    for row in await superuser.fetch(sql, org_id):
        events[str(row["subject_id"])].append(summarise(row))
    comments = Counter(
        str(row["ticket_id"])
        for row in await superuser.fetch("SELECT ticket_id FROM comments WHERE org_id = $1", org_id)
    )
    sql = "SELECT id, title, status, priority, version FROM tickets WHERE org_id = $1 ORDER BY number"
    return [
        Stored(
            str(row["id"]), row["title"], row["status"], row["priority"], row["version"], events[str(row["id"])],
            comments[str(row["id"])],
        )
        for row in await superuser.fetch(sql, org_id)
    ]  # fmt: skip


# --- what was acknowledged -------------------------------------------------------------------------------------------


async def assert_readable(load: Load) -> None:
    """Compare what the service returns now with what it acknowledged."""
    limit = asyncio.Semaphore(CONCURRENT_READS)

    async def check_ticket(ticket: TicketRecord) -> None:
        async with limit:
            found = await load.client.get(f"/tickets/{ticket.state['id']}")
        assert found.status_code == 200, (ticket, found.text)
        state = found.json()
        comments = state.pop("comments")
        assert (state, comments) == (ticket.state, ticket.comments)

    async def check_user(user: UserRecord) -> None:
        async with limit:
            found = await load.client.get(f"/users/{user.state['id']}")
        assert found.status_code == 200, (user, found.text)
        assert {name: found.json()[name] for name in user.state} == user.state

    await asyncio.gather(
        *(check_ticket(ticket) for ticket in load.tickets if ticket.state and not ticket.uncertain),
        *(check_user(user) for user in load.users if user.state),
    )


def assert_complete(load: Load, stored: Sequence[Stored]) -> None:
    """Check that each request happened fully, or not at all if it got no response."""
    by_title = {ticket.title: ticket for ticket in stored}
    assert len(by_title) == len(stored)
    for record in load.tickets:
        found = by_title.pop(record.title, None)
        if not record.state:
            assert found is None or (found.version, found.events) == (1, OPENING), found
            continue
        assert found is not None, record
        values = {name: record.state[name] for name in ("status", "priority")}
        version, events, comments = record.state["version"], record.events, len(record.comments)
        if (change := record.uncertain) and found.version > version:
            values, version, events = values | change.values, version + 1, events + change.events
            comments += "message" in change.body
        assert {"status": found.status, "priority": found.priority} == values, (record, found)
        assert (found.version, found.events, found.comments) == (version, events, comments), (record, found)
    assert by_title == {}


async def assert_users_signed_up_once(superuser: Superuser, load: Load) -> None:
    """Check that a user has one event and one mail, or that there is no trace of them."""
    sql = """
        SELECT (SELECT count(*) FROM users WHERE org_id = $1 AND email = $2) AS users,
               (SELECT count(*) FROM events JOIN users ON users.org_id = $1 AND users.id = subject_id
                WHERE events.org_id = $1 AND email = $2 AND type = 'user.signed_up') AS events,
               (SELECT count(*) FROM mails WHERE org_id = $1 AND recipient = $2) AS mails
    """
    for user in load.users:
        counts = tuple(await superuser.fetchrow(sql, load.client.org_id, user.email) or ())
        assert counts in ({(1, 1, 1)} if user.state else {(1, 1, 1), (0, 0, 0)}), user


# --- numbers, timers, subscribers ------------------------------------------------------------------------------------


async def assert_numbers_are_dense(superuser: Superuser) -> None:
    sql = """
        SELECT org_id, last_event, (SELECT max(seq) FROM events WHERE org_id = counters.org_id) AS last,
               (SELECT count(*) FROM events WHERE org_id = counters.org_id) AS events
        FROM counters
    """
    for row in await superuser.fetch(sql):
        assert row["last_event"] == row["last"] == row["events"], row


async def assert_ticket_numbers_are_dense(client: Client, stored: Sequence[Stored]) -> None:
    assert await client.numbers() == list(range(1, len(stored) + 1))


def assert_closed_once(stored: Sequence[Stored], count: int) -> int:
    """Check the tickets that were due to be closed; return how many requesters were reminded."""
    closed: EventSummary = ("ticket.status_changed", "RESPONDED", "CLOSED")
    assert len(stored) == count
    for ticket in stored:
        assert (ticket.status, ticket.version) == ("CLOSED", 2), ticket
        assert ticket.events in ([closed], [("ticket.closing_soon",), closed]), ticket
    return sum(len(ticket.events) == 2 for ticket in stored)


def assert_assigned_once(stored: Sequence[Stored], count: int) -> None:
    assert len(stored) == count
    for ticket in stored:
        assert (ticket.version, ticket.events) == (2, [("ticket.assigned",)]), ticket


async def assert_one_mail_per_event(superuser: Superuser, stored: Sequence[Stored]) -> None:
    """Check that the subscribers queued one mail for each event about these tickets, and no other."""
    expected: Counter[tuple[str, bool]] = Counter()
    for ticket in stored:
        for kind, *_ in ticket.events:
            if kind in TO_ASSIGNEE + TO_REQUESTER:
                expected[ticket.id, kind in TO_ASSIGNEE] += 1
    sql = """
        SELECT ticket_id, recipient IN (SELECT email FROM users WHERE org_id = mails.org_id) AS to_assignee
        FROM mails WHERE ticket_id IS NOT NULL
    """
    assert Counter((str(row["ticket_id"]), row["to_assignee"]) for row in await superuser.fetch(sql)) == expected


# --- deliveries ------------------------------------------------------------------------------------------------------


async def assert_all_sent(superuser: Superuser, smtp_server: SmtpServer) -> None:
    deliveries = await superuser.fetch("SELECT id, status FROM deliveries")
    assert {row["status"] for row in deliveries} == {"SENT"}
    assert len(deliveries) == await superuser.fetchval("SELECT count(*) FROM mails")
    assert set(smtp_server.count_copies()) == {f"<{row['id']}@growfin.test>" for row in deliveries}


def assert_copies_come_from_kills(smtp_server: SmtpServer, claimed_at_kill: Mapping[str, set[str]]) -> int:
    """Check that only a killed worker's unrecorded mails were sent again, unchanged; return the number of copies.

    Args:
        claimed_at_kill: the message ids of unrecorded mails when a worker was killed, by its address.
    """
    sent = defaultdict(list)
    for mail in smtp_server.received:
        sent[mail.message_id].append(mail)
    for copies in sent.values():
        for mail in copies[1:]:
            assert _describe(mail.content) == _describe(copies[0].content)
        senders = [mail.sender for mail in copies]
        assert len(set(senders)) == len(senders), senders
        for mail in copies[:-1]:
            assert mail.message_id in claimed_at_kill.get(mail.sender, ()), mail
    return len(smtp_server.received) - len(sent)


def _describe(content: bytes) -> tuple[list[tuple[str, str]], list[object]]:
    """Return the headers and texts of a mail, without its sender and the random boundary between its parts."""
    mail = message_from_bytes(content)
    headers = [(name, value) for name, value in mail.items() if name not in {"From", "Content-Type"}]
    return headers, [part.get_payload() for part in mail.walk() if not part.is_multipart()]


# --- leftovers -------------------------------------------------------------------------------------------------------


async def no_work_is_left(superuser: Superuser) -> bool:
    """Return whether no timer is due, no delivery waits, and all events were relayed."""
    sql = """
        SELECT (SELECT count(*) FROM timers WHERE due_at <= now() OR kind = 'DELIVER')
             + (SELECT sum(last_event - last_seq) FROM counters JOIN relays USING (org_id))
    """
    return bool(await superuser.fetchval(sql) == 0)


async def assert_nothing_failed(superuser: Superuser) -> None:
    assert await superuser.fetchval("SELECT count(*) FROM relay_failures") == 0
    assert await superuser.fetchval("SELECT count(*) FROM timers WHERE attempts > 0") == 0

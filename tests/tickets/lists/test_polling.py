"""GET /tickets by clients that poll for changes: they miss nothing and see nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from app.accounts.users.events import PasswordChanged
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, record
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import list_waiting, pass_time, run_due_timers

WRITERS = 8
CHANGES = int(os.environ.get("POLLING_CHANGES", "45"))  # of each writer; 500 takes half a minute
PAGE = 7  # so small that a poll takes several pages
OPERATIONS = ("title", "respond", "status", "accept")


@pytest.fixture
async def desk(api: Api, database: Database) -> Desk:
    """An organisation that is not a sandbox, with several available admins."""
    desk = await create_desk(api, database, sandbox=False)
    for name in ("bo", "cy"):
        await desk.another_admin(f"{name}@growfin.test")
    return desk


async def write(desk: Desk, tickets: list[JSON], dice: random.Random) -> None:
    """Open tickets, and change any of them."""
    for n in range(CHANGES):
        if n % 3 == 0:
            tickets.append(await desk.open())
            continue
        path = f"/tickets/{dice.choice(tickets)['id']}"
        match dice.choice(OPERATIONS):
            case "title":
                answer = await desk.admin.patch(path, {"title": f"Title {dice.random()}"})
            case "respond":
                answer = await desk.admin.post(f"{path}/respond", {"message": "Fixed."})
            case "status":
                answer = await desk.admin.patch(path, {"status": dice.choice(("OPEN", "IN_PROGRESS", "RESOLVED"))})
            case _:
                answer = await desk.admin.post(f"{path}/accept")
        assert answer.status_code in {200, 201, 409}, answer.text


async def poll(desk: Desk, column: str, *, descending: bool, after: str | None) -> list[JSON]:
    """List all tickets whose time is after this one, page by page."""
    params = {"sort": f"-{column}" if descending else column, "limit": str(PAGE)}
    if after is not None:
        params[column.replace("At", "After")] = after
    found: list[JSON] = []
    while True:
        answer = await desk.admin.get("/tickets", params=params)
        assert answer.status_code == 200, answer.text
        content = answer.json()
        found += content["items"]
        if content["nextCursor"] is None:
            return found
        params["cursor"] = content["nextCursor"]


IsWriting = Callable[[], bool]


async def follow_by_time(desk: Desk, column: str, *, descending: bool, is_writing: IsWriting) -> list[JSON]:
    """Poll with the latest time seen so far; return all tickets that such a client sees."""
    seen: list[JSON] = []
    latest: str | None = None
    while True:
        last_round = not is_writing()
        found = await poll(desk, column, descending=descending, after=latest)
        seen += found
        latest = max((ticket[column] for ticket in found), default=latest)
        if last_round:
            return seen
        await asyncio.sleep(0.01)


async def follow_by_held_cursor(desk: Desk, column: str, *, is_writing: IsWriting) -> list[JSON]:
    """Ask for the page after the last cursor again and again; return all tickets that such a client sees."""
    seen: dict[tuple[int, int], JSON] = {}
    params = {"sort": column, "limit": str(PAGE)}
    while True:
        last_round = not is_writing()
        content = (await desk.admin.get("/tickets", params=params)).json()
        seen |= {(ticket["number"], ticket["version"]): ticket for ticket in content["items"]}
        if content["nextCursor"] is not None:
            params["cursor"] = content["nextCursor"]
        elif last_round:
            return list(seen.values())
        else:
            await asyncio.sleep(0.01)


async def follow_from_the_top(desk: Desk, column: str, *, is_writing: IsWriting) -> list[JSON]:
    """Read the newest pages until a ticket was seen before, again and again; return all tickets seen."""
    seen: dict[tuple[int, int], JSON] = {}
    while True:
        last_round, known = not is_writing(), set(seen)
        params = {"sort": f"-{column}", "limit": str(PAGE)}
        while True:
            content = (await desk.admin.get("/tickets", params=params)).json()
            items = {(ticket["number"], ticket["version"]): ticket for ticket in content["items"]}
            seen |= items
            if content["nextCursor"] is None or known & items.keys():
                break
            params["cursor"] = content["nextCursor"]
        if last_round:
            return list(seen.values())
        await asyncio.sleep(0.01)


async def test_pollers_miss_nothing_while_eight_writers_work(desk: Desk) -> None:
    tickets, writing = [await desk.open()], True

    def is_writing() -> bool:
        return writing

    followers = {
        (column, way): asyncio.create_task(following)
        for column in ("createdAt", "updatedAt")
        for way, following in (
            ("ascending", follow_by_time(desk, column, descending=False, is_writing=is_writing)),
            ("descending", follow_by_time(desk, column, descending=True, is_writing=is_writing)),
            ("held cursor", follow_by_held_cursor(desk, column, is_writing=is_writing)),
            ("from the top", follow_from_the_top(desk, column, is_writing=is_writing)),
        )
    }

    await asyncio.gather(*(write(desk, tickets, random.Random(place)) for place in range(WRITERS)))
    writing = False
    seen = {key: await follower for key, follower in followers.items()}

    everything = await poll(desk, "createdAt", descending=False, after=None)
    assert len(everything) == len(tickets) == 1 + WRITERS * len(range(0, CHANGES, 3))
    for (column, way), listed in seen.items():
        if column == "createdAt":
            numbers = Counter(ticket["number"] for ticket in listed)
            assert numbers.keys() == {ticket["number"] for ticket in everything}, way
            if way in {"ascending", "descending"}:
                assert set(numbers.values()) == {1}, way
        else:
            versions = Counter((ticket["number"], ticket["version"]) for ticket in listed)
            if way in {"ascending", "descending"}:
                assert set(versions.values()) == {1}, way
            assert versions.keys() >= {(ticket["number"], ticket["version"]) for ticket in everything}, way


async def test_creation_times_follow_ticket_numbers(desk: Desk) -> None:
    await asyncio.gather(*(desk.open() for _ in range(60)))

    opened = sorted(await poll(desk, "createdAt", descending=False, after=None), key=lambda ticket: ticket["number"])

    times = [ticket["createdAt"] for ticket in opened]
    assert times == sorted(set(times))
    assert [ticket["updatedAt"] for ticket in opened] == times


async def polled_one_by_one(desk: Desk, after: str) -> list[int]:
    """Return the numbers of the tickets that changed after a time, asking for one at a time."""
    numbers: list[int] = []
    while True:
        params = {"sort": "updatedAt", "updatedAfter": after, "limit": "1"}
        items = (await desk.admin.get("/tickets", params=params)).json()["items"]
        if not items:
            return numbers
        numbers.append(items[0]["number"])
        after = items[0]["updatedAt"]


async def test_tickets_changed_in_one_transaction_have_different_times(desk: Desk, database: Database) -> None:
    """They are handed over after the suspension of their assignee, and closed, by the worker."""
    bo = await desk.another_admin("dee@growfin.test")
    tickets = [await desk.open() for _ in range(12)]
    theirs = [ticket["number"] for ticket in tickets if ticket["assigneeId"] == str(bo.id)]

    await desk.admin.patch(f"/users/{bo.id}", {"status": "SUSPENDED"})
    await run_due_timers(database)
    assert await list_waiting(desk) == []
    handed_over = await polled_one_by_one(desk, tickets[-1]["updatedAt"])
    assert sorted(handed_over) == theirs
    assert len(theirs) == 3

    for ticket in tickets:
        latest = (await desk.respond(ticket))["ticket"]["updatedAt"]
    await pass_time(desk, timedelta(days=31))
    await run_due_timers(database)
    assert await polled_one_by_one(desk, latest) == [ticket["number"] for ticket in tickets]
    closed = await poll(desk, "updatedAt", descending=False, after=latest)
    assert {ticket["status"] for ticket in closed} == {"CLOSED"}


async def test_a_reply_does_not_wait_for_a_change_of_its_authors_email(desk: Desk, database: Database) -> None:
    """A reply refers to its author while it holds the counter, which the change of the e-mail takes afterwards."""
    ticket = await desk.open()
    async with database.session(desk.id) as db:
        author = await db.get_one(User, (desk.id, desk.admin.id), with_for_update={"key_share": True})
        author.email = "new@growfin.test"
        await db.flush()
        reply = await asyncio.wait_for(desk.respond(ticket), timeout=5)
        record(db, PasswordChanged(at=real_now(), actor=SYSTEM, user_id=author.id))

    assert [event["type"] for event in await desk.history(ticket)][2:] == ["ticket.responded", "ticket.status_changed"]
    assert reply["ticket"]["status"] == "RESPONDED"


async def test_responses_show_the_stored_times(desk: Desk) -> None:
    ticket = await desk.open()
    response = await desk.respond(ticket)
    accepted = (await desk.admin.post(f"/tickets/{ticket['id']}/accept")).json()
    changed = (await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": "Another"})).json()

    read, history = await desk.read(ticket), await desk.history(ticket)

    assert read["updatedAt"] == changed["updatedAt"] == history[-1]["createdAt"]
    assert response["createdAt"] == response["ticket"]["updatedAt"] == read["comments"][0]["createdAt"]
    assert ticket["createdAt"] < response["createdAt"] < accepted["updatedAt"] < changed["updatedAt"]
    assert [event["createdAt"] for event in history] == sorted(event["createdAt"] for event in history)

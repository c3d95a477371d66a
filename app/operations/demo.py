"""`tessera demo`: a new sandbox organisation, filled through the services with two months of believable tickets."""

from __future__ import annotations

import asyncio
import random
import secrets
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, product
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import Progress
from sqlalchemy import select, update

from app.access.callers import Caller, Principal
from app.access.tenant import Tenant
from app.accounts.users.creation import NewUser, hash_new_password, sign_up_admin
from app.authentication.sessions.queries import principal_of
from app.core.clock import real_now
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.models import Counter, Relay
from app.organisations.queries import as_tenant
from app.organisations.service import sign_up
from app.tickets import service
from app.tickets.models import TicketPriority, TicketStatus
from app.tickets.search.rules import INDEX_TICKETS

PARALLEL = 4
BATCH = 20  # tickets that live in one transaction
# While the organisation is being filled, its `relays` row claims to be this far ahead of the events, so that the worker
# of a running server never finds any to show to the subscribers, who would queue mails for them. It is beyond what any
# demo reaches; not 2^62, as the backlog is a sum over all organisations, which must stay a bigint.
HELD = 2**40

SPREAD = timedelta(days=60)
# An answered ticket is reminded of after 27 days and closes after 30: none is so old that the worker acts at once.
ANSWERED_WITHIN = timedelta(days=26)
DRAGS_ON = timedelta(days=5)
CUSTOMERS = 300

ADMINS = (("Ada", "Lovelace"), ("Grace", "Hopper"), ("Alan", "Turing"), ("Katherine", "Johnson"))
FIRST_NAMES = (
    "Aisha", "Ben", "Carla", "Dmitri", "Elif", "Femi", "Greta", "Hiro", "Ines", "Jonas", "Kavya", "Liam", "Mei",
    "Noor", "Olga", "Pedro", "Quinn", "Rosa", "Sven", "Tara",
)  # fmt: skip
LAST_NAMES = (
    "Abadi", "Becker", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanova", "Jensen", "Kim",
    "Larsen", "Moreau", "Novak", "Okafor", "Patel", "Rossi", "Silva", "Tanaka", "Weber",
)  # fmt: skip
COMPANIES = (
    "acorn", "bluefin", "cedarworks", "driftwood", "eastgate", "fernhill", "granite", "harbour", "ironbridge",
    "juniper", "kestrel", "lakeside", "meridian", "northwind", "oakline", "pinecone", "quarry", "redwood",
)  # fmt: skip
AREAS = (
    "the invoice export", "the weekly report", "the dashboard", "the mobile app", "single sign-on", "the CSV import",
    "the calendar sync", "the search", "the billing page", "the webhook to our CRM", "the user list", "the audit log",
)  # fmt: skip
TROUBLES = (
    ("{area} is slow", "Since {when}, {area} takes about {n} seconds to open."),
    ("{area} shows an error", "Since {when}, {area} answers with “Something went wrong”, {n} times out of {m}."),
    ("{area} stops half-way", "{area} gets to {m} % and then nothing happens any more. It last worked {when}."),
    ("How do we set up {area}?", "We are {m} users and would like to use {area}. The guide ends at step {n}."),
    ("{area} does not load in Firefox", "In Firefox {area} stays blank; in Chrome it is fine. It began {when}."),
    ("Numbers in {area} are wrong", "{area} says {n} where it should say {m}. We first noticed {when}."),
    ("Please give us access to {area}", "{n} of our {m} colleagues cannot open {area}; they could {when}."),
    ("{area} times out for large teams", "With more than {m} members {area} times out after {n} seconds."),
    ("{area} is missing after the update", "After the update {when}, {area} is gone for {n} of our {m} users."),
    ("Could {area} support time zones?", "Our {m} users sit in four time zones, and {area} only shows UTC."),
)
WHENS = ("yesterday", "last Friday", "last Monday", "this morning", "last week", "last month")
CLOSINGS = ("Could you have a look?", "It keeps two of us from working.", "No hurry, but it would help.", "Thanks!")
ANSWERS = (
    "Thank you for telling us. We found the cause and corrected it: please try again.",
    "This is on its way: the fix goes out with tonight's release. Please write if it is still there tomorrow.",
    "We could not see it with a new account. Does it help to sign out and in again?",
    "You find this under Settings, Workspace, Access. We have also added it to the guide.",
    "Thanks for the idea: we noted it for the next quarter, and will tell you here when it comes.",
)

# How many of a hundred end up where.
RECENT = dict(zip(TicketStatus, (18, 17, 30, 15, 20), strict=True))
OLD = {TicketStatus.RESOLVED: 35, TicketStatus.CLOSED: 65}
PRIORITIES = {TicketPriority.LOW: 25, TicketPriority.MEDIUM: 45, TicketPriority.HIGH: 22, TicketPriority.CRITICAL: 8}
PASSED_THROUGH = 0.4  # how likely each status on the way to the last one is
RAISED = 0.1  # how likely a ticket that is begun turns out to matter more
PATH = (TicketStatus.IN_PROGRESS, TicketStatus.RESPONDED, TicketStatus.RESOLVED, TicketStatus.CLOSED)


@dataclass(frozen=True)
class _Story:
    """A ticket's life: how it is opened, and what becomes of it."""

    opening: Mapping[str, str]
    opened_at: datetime
    steps: list[tuple[datetime, service.TicketChanges]]
    answer: str


async def fill(settings: Settings, tickets: int) -> str:
    """Make the organisation with its admins and this many tickets; returns what to tell whoever asked for it.

    Secret and password are new; its addresses and its customers' are in domains that nobody can have (RFC 2606).
    """
    assert settings.database_url is not None
    assert settings.secret_key is not None
    database = Database(settings.database_url, pool_size=PARALLEL)
    try:
        tenant, secret = await _make_organisation(database)
        try:
            password = secrets.token_urlsafe(12)
            admins = [await _make_admin(database, settings.secret_key, tenant, name, password) for name in ADMINS]
            await _write(database, tenant, admins, tickets)
        finally:
            # However it ended: what has happened up to now is nobody's news, and what happens from now on is.
            await _let_go(database, tenant.id)
    finally:
        await database.dispose()
    summary = f"The sandbox organisation {tenant.domain} has {tickets} new tickets; nobody gets mail for them.\n\n"
    return summary + _told(settings, admins, secret=secret, password=password)


async def _make_organisation(database: Database) -> tuple[Tenant, str]:
    suffix = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))
    org_id = new_id()
    async with database.session(org_id) as db:
        row, secret = await sign_up(db, org_id, f"Demo {suffix}", f"demo-{suffix}.example", sandbox=True)
        await db.flush()
        # In the same transaction: no worker ever sees the organisation without.
        await db.execute(update(Relay).where(Relay.org_id == org_id).values(last_seq=HELD))
        # Not called a sandbox here: in one, services look at its clock, and these tickets are of days gone by. Nobody
        # can move that clock meanwhile, as nobody knows the secret.
        return replace(as_tenant(row), sandbox=False), secret


async def _let_go(database: Database, org_id: UUID) -> None:
    async with database.session(org_id) as db:
        await timers.set_timers(db, org_id, org_id, {INDEX_TICKETS: real_now()})
        # The lock waits for a transaction whose connection was lost as it committed.
        last = select(Counter.last_event).where(Counter.org_id == org_id).with_for_update(key_share=True)
        last_event = (await db.execute(last)).scalar_one()
        await db.execute(update(Relay).where(Relay.org_id == org_id).values(last_seq=last_event))


async def _make_admin(
    database: Database, secret_key: str, tenant: Tenant, name: tuple[str, str], password: str
) -> Principal:
    first_name, last_name = name
    new = NewUser(first_name, last_name, f"{first_name.lower()}@{tenant.domain}")
    password_hash = await hash_new_password(secret_key, tenant, password, *name, email=new.email)
    async with database.session(tenant.id) as db:
        user = await sign_up_admin(db, Caller(tenant, None, tenant.now()), new, password_hash)
    return principal_of(user)


async def _write(database: Database, tenant: Tenant, admins: Iterable[Principal], tickets: int) -> None:
    stories, in_turn = _stories(tickets, real_now()), asyncio.Lock()
    by_id = {admin.id: admin for admin in admins}
    with Progress(console=Console(stderr=True)) as progress:
        done = progress.add_task("Tickets", total=tickets)

        async def write_some() -> None:
            while True:
                # A later ticket has a higher number.
                async with in_turn, database.driver(tenant.id) as driver:
                    opened = [
                        (await service.open_ticket(driver, Caller(tenant, None, one.opened_at), **one.opening), one)
                        for one in islice(stories, BATCH)
                    ]
                if not opened:
                    return
                await _live(database, tenant, by_id, opened)
                progress.advance(done, len(opened))

        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(write_some())


async def _live(
    database: Database, tenant: Tenant, admins: Mapping[UUID, Principal], opened: list[tuple[Any, _Story]]
) -> None:
    # One transaction: a countdown that began long ago is never seen, by a worker, before what ended it.
    async with database.session(tenant.id) as db:
        for ticket, story in opened:
            for at, changes in story.steps:
                caller = Caller(tenant, admins[ticket["admin_id"]], at)
                if changes["status"] is TicketStatus.RESPONDED:
                    await service.respond(db, caller, ticket["id"], story.answer, _any_version)
                else:
                    await service.change(db, caller, ticket["id"], changes, _any_version)


def _any_version(_version: int) -> None:
    """Nobody else works on these tickets."""


def _stories(count: int, now: datetime) -> Iterator[_Story]:
    """As many tickets, oldest first; the same count gives the same texts and courses."""
    dice = random.Random(count)  # noqa: S311 - nothing secret
    customers = _customers(dice)
    weights = [1 / (rank + 10) for rank in range(len(customers))]  # some write often, most now and then
    for place in range(count):
        opened_at = now - SPREAD * (1 - (place + dice.random()) / count)
        title, description = _texts(dice)
        priority, customer = _one(dice, PRIORITIES), dice.choices(customers, weights)[0]
        yield _Story(
            opening={"title": title, "description": description, "priority": priority, "added_by": customer},
            opened_at=opened_at,
            steps=list(_steps(dice, opened_at, now)),
            answer=dice.choice(ANSWERS),
        )


def _customers(dice: random.Random) -> list[str]:
    names = dice.sample(list(product(FIRST_NAMES, LAST_NAMES)), CUSTOMERS)
    return [f"{first}.{last}@{dice.choice(COMPANIES)}.example".lower() for first, last in names]


def _texts(dice: random.Random) -> tuple[str, str]:
    title, description = dice.choice(TROUBLES)
    n, m = dice.randint(2, 30), dice.randint(31, 90)
    words = {"area": dice.choice(AREAS), "when": dice.choice(WHENS), "n": n, "m": m}
    title, description = (text.format(**words) for text in (title, description))
    return title[0].upper() + title[1:], f"{description[0].upper()}{description[1:]} {dice.choice(CLOSINGS)}"


def _steps(dice: random.Random, opened_at: datetime, now: datetime) -> Iterator[tuple[datetime, service.TicketChanges]]:
    last = _one(dice, RECENT if now - opened_at < ANSWERED_WITHIN else OLD)
    if last is TicketStatus.OPEN:
        return
    path = [*(status for status in PATH[: PATH.index(last)] if dice.random() < PASSED_THROUGH), last]
    time = min(DRAGS_ON * dice.uniform(0.05, 1), now - opened_at)
    moments = sorted(opened_at + time * dice.random() for _ in path)
    for at, status in zip(moments, path, strict=True):
        if status is TicketStatus.IN_PROGRESS and dice.random() < RAISED:
            yield at, {"status": status, "priority": TicketPriority.HIGH}
        else:
            yield at, {"status": status}


def _one(dice: random.Random, weighted: Mapping[Any, int]) -> Any:
    return dice.choices(list(weighted), list(weighted.values()))[0]


def _told(settings: Settings, admins: list[Principal], *, secret: str, password: str) -> str:
    emails = "\n          ".join(admin.email for admin in admins)
    return (
        f"secret    {secret}\nadmins    {emails}\npassword  {password}\n\n"
        f"Sign in:\ncurl {settings.url}/auth/admin/signin -H 'Content-Type: application/json' \\\n"
        f'  -d \'{{"email": "{admins[0].email}", "password": "{password}"}}\'\n'
    )

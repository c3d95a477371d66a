"""`tessera demo`: create a sandbox organisation with two months of realistic tickets, through the services."""

from __future__ import annotations

import asyncio
import random
import secrets
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, product
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from pydantic import MISSING
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import select, update

from app.access.callers import Principal, ProductCaller, UserCaller
from app.access.tenant import Tenant
from app.accounts.sign_up.service import sign_up_admin
from app.accounts.users.creation import NewUser, hash_new_password
from app.authentication.sessions.queries import principal_of
from app.core.clock import real_now
from app.core.config import Settings
from app.core.database.pool import BeforeCommit, Database
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.models import Counter, Relay
from app.organisations.queries import as_tenant
from app.organisations.service import sign_up
from app.requesters.service import RequesterDetails
from app.tickets import service
from app.tickets.changes import TicketChanges
from app.tickets.comments.service import respond
from app.tickets.models import TicketPriority, TicketStatus
from app.tickets.rows import TicketRow
from app.tickets.search.rules import INDEX_TICKETS

if TYPE_CHECKING:
    from app.core.database.pool import Driver

T = TypeVar("T")

CONCURRENCY = 4
TICKETS_PER_TRANSACTION = 20
# While tickets are being created, the organisation's `relays` row claims that events up to this number are relayed, so
# that no running worker passes them to subscribers, which would queue mails. No demo reaches this number; it is not
# 2^62, because the backlog is a sum over all organisations and must fit a bigint.
PAUSED_SEQ = 2**40

PERIOD = timedelta(days=60)
# A reminder is due 27 days after a reply, and auto-close after 30. Younger tickets have nothing due when created.
MAX_AGE_OF_RECENT = timedelta(days=26)
MAX_DURATION = timedelta(days=5)
CUSTOMER_COUNT = 300

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
PROBLEM_TEMPLATES = (
    ("{area} is slow", "Since {when}, {area} takes about {n} seconds to open."),
    ("{area} shows an error", "Since {when}, {area} responds with “Something went wrong”, {n} times out of {m}."),
    ("{area} stops half-way", "{area} gets to {m} % and then nothing happens any more. It last worked {when}."),
    ("How do we set up {area}?", "We are {m} users and would like to use {area}. The guide ends at step {n}."),
    ("{area} does not load in Firefox", "In Firefox {area} stays blank; in Chrome it is fine. It began {when}."),
    ("Numbers in {area} are wrong", "{area} says {n} where it should say {m}. We first noticed {when}."),
    ("Please give us access to {area}", "{n} of our {m} colleagues cannot open {area}; they could {when}."),
    ("{area} times out for large teams", "With more than {m} members {area} times out after {n} seconds."),
    ("{area} is missing after the update", "After the update {when}, {area} is gone for {n} of our {m} users."),
    ("Could {area} support time zones?", "Our {m} users sit in four time zones, and {area} only shows UTC."),
)
DATES = ("yesterday", "last Friday", "last Monday", "this morning", "last week", "last month")
CLOSING_SENTENCES = (
    "Could you have a look?",
    "It keeps two of us from working.",
    "No hurry, but it would help.",
    "Thanks!",
)
REPLIES = (
    "Thank you for telling us. We found the cause and corrected it: please try again.",
    "This is on its way: the fix goes out with tonight's release. Please write if it is still there tomorrow.",
    "We could not see it with a new account. Does it help to sign out and in again?",
    "You find this under Settings, Workspace, Access. We have also added it to the guide.",
    "Thanks for the idea: we noted it for the next quarter, and will tell you here when it comes.",
)

# Times follow commits, so the time of the last commit must be reset to write tickets of the past.
_RESET_LAST_AT = "UPDATE counters SET last_at = 'epoch' WHERE org_id = $1"

# Percentages of the tickets by their last status.
RECENT_STATUS_WEIGHTS = dict(zip(TicketStatus, (18, 17, 30, 15, 20), strict=True))
OLD_STATUS_WEIGHTS = {TicketStatus.RESOLVED: 35, TicketStatus.CLOSED: 65}
PRIORITY_WEIGHTS = {
    TicketPriority.LOW: 25,
    TicketPriority.MEDIUM: 45,
    TicketPriority.HIGH: 22,
    TicketPriority.CRITICAL: 8,
}
INTERMEDIATE_STATUS_PROBABILITY = 0.4  # of each status before the last one
ESCALATION_PROBABILITY = 0.1  # that a ticket in progress is raised to HIGH
STATUS_ORDER = (TicketStatus.IN_PROGRESS, TicketStatus.RESPONDED, TicketStatus.RESOLVED, TicketStatus.CLOSED)


@dataclass(frozen=True)
class _TicketScript:
    """A ticket's script: the fields it is opened with, and the changes that follow."""

    title: str
    description: str
    priority: TicketPriority
    requester: RequesterDetails
    opened_at: datetime
    steps: list[tuple[datetime, TicketChanges]]
    reply: str


async def create_demo(settings: Settings, ticket_count: int, before_commit: BeforeCommit) -> str:
    """Create the organisation with its admins and this many tickets; return a summary with the credentials.

    Secret key and password are random. All e-mail addresses use reserved domains (RFC 2606).
    """
    assert settings.database_url is not None
    assert settings.secret_key is not None
    database = Database(
        settings.database_url,
        pool_size=CONCURRENCY,
        transaction_pooler=settings.has_transaction_pooler,
        before_commit=before_commit,
    )
    try:
        tenant, secret = await _create_organisation(database)
        try:
            password = secrets.token_urlsafe(12)
            admins = [await _create_admin(database, settings.secret_key, tenant, name, password) for name in ADMINS]
            await _create_tickets(database, tenant, admins, ticket_count)
        finally:
            # Also after a failure: events so far cause no mail, and later ones do.
            await _resume_relay(database, tenant.id)
    finally:
        await database.dispose()
    headline = f"The sandbox organisation {tenant.domain} has {ticket_count} new tickets. No mail is sent for them.\n\n"
    return headline + _write_summary(settings, admins, secret=secret, password=password)


async def _create_organisation(database: Database) -> tuple[Tenant, str]:
    suffix = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))
    org_id = new_id()
    async with database.session(org_id) as db:
        row, secret = await sign_up(db, org_id, f"Demo {suffix}", f"demo-{suffix}.example", sandbox=True)
        await db.flush()
        # In the same transaction, so that no worker sees the organisation with an unpaused relay.
        await db.execute(update(Relay).where(Relay.org_id == org_id).values(last_seq=PAUSED_SEQ))
        # Services would use the clock of a sandbox, but these tickets are opened in the past. The clock cannot be
        # moved meanwhile, because the secret key is not known yet.
        return replace(as_tenant(row), sandbox=False), secret


async def _resume_relay(database: Database, org_id: UUID) -> None:
    async with database.session(org_id) as db:
        await timers.set_timers(db, org_id, org_id, {INDEX_TICKETS: real_now()})
        # The lock waits for a transaction that is still committing after its connection was lost.
        last = select(Counter.last_event).where(Counter.org_id == org_id).with_for_update(key_share=True)
        last_event = (await db.execute(last)).scalar_one()
        await db.execute(update(Relay).where(Relay.org_id == org_id).values(last_seq=last_event))


async def _create_admin(
    database: Database, secret_key: str, tenant: Tenant, name: tuple[str, str], password: str
) -> Principal:
    first_name, last_name = name
    new = NewUser(first_name, last_name, f"{first_name.lower()}@{tenant.domain}")
    password_hash = await hash_new_password(secret_key, tenant, password, *name, email=new.email)
    async with database.session(tenant.id) as db:
        user = await sign_up_admin(db, ProductCaller(tenant=tenant, now=tenant.now()), new, password_hash)
    # No session has this id: the principal only writes.
    return principal_of(user, new_id(), authenticated_at=real_now())


async def _create_tickets(database: Database, tenant: Tenant, admins: Iterable[Principal], ticket_count: int) -> None:
    scripts, opening_lock = _write_scripts(ticket_count, real_now()), asyncio.Lock()
    admins_by_id = {admin.id: admin for admin in admins}
    with Progress(console=Console(stderr=True)) as progress:
        progress_bar = progress.add_task("Tickets", total=ticket_count)

        async def create_batches() -> None:
            while True:
                # One batch at a time is opened, so that later tickets have higher numbers.
                async with opening_lock, database.driver(tenant.id) as driver:
                    await driver.execute(_RESET_LAST_AT, tenant.id)
                    opened = []
                    for script in islice(scripts, TICKETS_PER_TRANSACTION):
                        caller = ProductCaller(tenant=tenant, now=script.opened_at)
                        opened.append((await _open_ticket(driver, caller, script), script))
                if not opened:
                    return
                await _play_scripts(database, tenant, admins_by_id, opened)
                progress.advance(progress_bar, len(opened))

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(create_batches())


async def _open_ticket(driver: Driver, caller: ProductCaller, script: _TicketScript) -> TicketRow:
    return await service.open_ticket(
        driver,
        caller,
        title=script.title,
        description=script.description,
        priority=script.priority,
        requester=script.requester,
    )


async def _play_scripts(
    database: Database, tenant: Tenant, admins: Mapping[UUID, Principal], opened: list[tuple[TicketRow, _TicketScript]]
) -> None:
    # One transaction, so that no worker sees a countdown started in the past before the change that ends it.
    steps = [(at, ticket, script, changes) for ticket, script in opened for at, changes in script.steps]
    steps.sort(key=lambda step: step[0])
    async with database.session(tenant.id) as db:
        for at, ticket, script, changes in steps:
            assignee_id = ticket["assignee_id"]
            assert assignee_id is not None  # the rotation found one of the admins
            caller = UserCaller(tenant=tenant, user=admins[assignee_id], now=at)
            if changes.status is TicketStatus.RESPONDED:
                await respond(db, caller, ticket["id"], script.reply, _accept_any_version)
            else:
                await service.change_ticket(db, caller, ticket["id"], changes, _accept_any_version)
        await (await db.connection()).exec_driver_sql(_RESET_LAST_AT, (tenant.id,))


def _accept_any_version(_version: int) -> None:
    """Skip the check of the version: these tickets have no other writers."""


def _write_scripts(count: int, now: datetime) -> Iterator[_TicketScript]:
    """Yield `count` scripts, oldest first. The same count yields the same texts and statuses."""
    rng = random.Random(count)  # noqa: S311 - not a secret
    customers = _make_customers(rng)
    weights = [1 / (rank + 10) for rank in range(len(customers))]  # a few customers open many tickets
    for index in range(count):
        opened_at = now - PERIOD * (1 - (index + rng.random()) / count)
        title, description = _write_texts(rng)
        priority, customer = _choose(rng, PRIORITY_WEIGHTS), rng.choices(customers, weights)[0]
        yield _TicketScript(
            title=title,
            description=description,
            priority=priority,
            requester=customer,
            opened_at=opened_at,
            steps=list(_make_steps(rng, opened_at, now)),
            reply=rng.choice(REPLIES),
        )


def _make_customers(rng: random.Random) -> list[RequesterDetails]:
    names = rng.sample(list(product(FIRST_NAMES, LAST_NAMES)), CUSTOMER_COUNT)
    return [
        RequesterDetails(email=f"{first}.{last}@{rng.choice(COMPANIES)}.example".lower(), name=f"{first} {last}")
        for first, last in names
    ]


def _write_texts(rng: random.Random) -> tuple[str, str]:
    title, description = rng.choice(PROBLEM_TEMPLATES)
    n, m = rng.randint(2, 30), rng.randint(31, 90)
    words = {"area": rng.choice(AREAS), "when": rng.choice(DATES), "n": n, "m": m}
    title, description = (text.format(**words) for text in (title, description))
    return title[0].upper() + title[1:], f"{description[0].upper()}{description[1:]} {rng.choice(CLOSING_SENTENCES)}"


def _make_steps(rng: random.Random, opened_at: datetime, now: datetime) -> Iterator[tuple[datetime, TicketChanges]]:
    last = _choose(rng, RECENT_STATUS_WEIGHTS if now - opened_at < MAX_AGE_OF_RECENT else OLD_STATUS_WEIGHTS)
    if last is TicketStatus.OPEN:
        return
    path = [
        *(
            status
            for status in STATUS_ORDER[: STATUS_ORDER.index(last)]
            if rng.random() < INTERMEDIATE_STATUS_PROBABILITY
        ),
        last,
    ]
    duration = min(MAX_DURATION * rng.uniform(0.05, 1), now - opened_at)
    times = sorted(opened_at + duration * rng.random() for _ in path)
    for at, status in zip(times, path, strict=True):
        is_escalated = status is TicketStatus.IN_PROGRESS and rng.random() < ESCALATION_PROBABILITY
        yield at, TicketChanges(status=status, priority=TicketPriority.HIGH if is_escalated else MISSING)


def _choose(rng: random.Random, weighted: Mapping[T, int]) -> T:
    return rng.choices(list(weighted), list(weighted.values()))[0]


def _write_summary(settings: Settings, admins: list[Principal], *, secret: str, password: str) -> str:
    emails = "\n          ".join(admin.email for admin in admins)
    return (
        f"secret    {secret}\nadmins    {emails}\npassword  {password}\n\n"
        f"Sign in:\ncurl {settings.base_url}/auth/admin/signin -H 'Content-Type: application/json' \\\n"
        f'  -d \'{{"email": "{admins[0].email}", "password": "{password}"}}\'\n'
    )

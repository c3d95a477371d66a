"""Measure how fast the worker sends mails, and how little slow, hanging or numerous mails delay others.

The mails go over SMTP to a server in this process (`smtp_server.py`). Each measurement begins with an empty queue.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from app.core.database.pool import Database
from app.core.outbox.numbering import Numbering
from app.notifications import mails
from app.notifications.mails import MailDraft
from benchmarks import data, load, processes, requests, smtp_server
from benchmarks.data import Dataset
from benchmarks.requests import CREATE
from benchmarks.smtp_server import SmtpServer

CONNECTIONS = 4  # the default of SMTP_CONNECTIONS
SLOW, INSTANT = 0.3, 0.0  # seconds a mail
SLOW_MAILS, INSTANT_MAILS = 120, 3000
ROUNDS = 3  # of the worker and the bare loop, in turn; the best round of each counts
MANY = 50_000  # mails of an organisation; twice as many are inserted by one statement
MANY_DELAY = 0.1  # seconds a mail
PROBES = 8
HANG_SECONDS = 8.0  # in which probes are sent while a lane hangs
LOAD_SECONDS = 60
TIMEOUT = 300.0  # seconds

SENDER, SUBJECT = "Tessera <tessera@localhost>", "[DESK-42] Reply: Cannot export the report"
TEXT = "We fixed the export: please try again. " * 15
HTML = f"<html><body><p>{TEXT * 2}</p></body></html>"

# Parameters: the organisation, and the number of mails.
_INSERT = """
    WITH new AS (
        INSERT INTO deliveries (org_id, id, channel, lane, status, created_at)
        SELECT $1::uuid, gen_random_uuid(), 'EMAIL', 'many.example', 'QUEUED', now() FROM generate_series(1, $2::int)
        RETURNING org_id, id, created_at
    ), content AS (
        INSERT INTO mails (org_id, id, recipient, subject, body_text, ticket_id, created_at)
        SELECT org_id, id, id || '@many.example', 'Reply', repeat('Hello. ', 50), gen_random_uuid(), created_at FROM new
        RETURNING id
    )
    INSERT INTO timers (org_id, subject_id, kind, due_at) SELECT org_id, id, 'DELIVER', created_at FROM new
"""


@dataclass
class Mailing:
    """The results. Rates are mails per second; delays are in seconds, from the commit of a mail to its acceptance.

    Attributes:
        slow: with a server that takes `SLOW` seconds a mail.
        instant, bare: with an instant server, of the worker and of the bare loop.
        delays: by what happens beside the mail: the longest delay, and the longest that is accepted.
        beside_load: mails per second while tickets are opened, and the tickets opened per second.
        backlog: the seconds until all mails were sent after that load, and their number.
    """

    slow: float = 0.0
    instant: float = 0.0
    bare: float = 0.0
    delays: dict[str, tuple[float, float]] = field(default_factory=dict)
    beside_load: tuple[float, float] = (0.0, 0.0)
    backlog: tuple[float, int] = (0.0, 0)


def recipient(number: int) -> str:
    """Return an address; the domain differs from mail to mail."""
    return f"customer{number}@company{number % 10}.example"


def measure(content: Dataset, log: Callable[[str], None]) -> Mailing:
    """Measure everything. The database is restored after each part."""
    measured = Mailing()
    for part in (_measure_rates, _measure_hanging, _measure_many, _measure_backlog):
        log(part.__name__.removeprefix("_measure_"))
        part(content, measured)
        log(str(measured))
    return measured


def _measure_rates(content: Dataset, measured: Mailing) -> None:
    with _running(content, SLOW) as (server, queue):
        queue(0, [recipient(n) for n in range(SLOW_MAILS)])
        measured.slow = server.wait_for_count(SLOW_MAILS, TIMEOUT)
    for _ in range(ROUNDS):
        measured.bare = max(measured.bare, _measure_bare())
        with _running(content, INSTANT) as (server, queue):
            queue(0, [recipient(n) for n in range(INSTANT_MAILS)])
            measured.instant = max(measured.instant, server.wait_for_count(INSTANT_MAILS, TIMEOUT))


def _measure_bare() -> float:
    with smtp_server.running() as server:
        command = [sys.executable, "-m", "benchmarks.bare_smtp"]
        arguments = [str(number) for number in (server.port, INSTANT_MAILS, CONNECTIONS)]
        subprocess.run([*command, *arguments], cwd=processes.ROOT, check=True)
        return server.wait_for_count(INSTANT_MAILS, 0)


def _measure_hanging(content: Dataset, measured: Mailing) -> None:
    with _running(content, INSTANT) as (server, queue):
        alone = _probe(server, queue, 1)
        measured.delays["nothing else"] = (alone, 1.0)
        server.hanging = {"hangs.example"}
        queue(0, [f"customer{n}@hangs.example" for n in range(1000)])
        same = _probe(server, queue, 0)
        measured.delays["1,000 mails of the same organisation to a domain that hangs"] = (same, alone + 1.0)
    with _running(content, INSTANT) as (server, queue):
        server.hanging = {f"hangs{n}.example" for n in range(3)}
        queue(0, [f"customer@{domain}" for domain in server.hanging])
        measured.delays["3 mails of another organisation that hang"] = (_probe(server, queue, 1), 2.0)


def _measure_many(content: Dataset, measured: Mailing) -> None:
    with _running(content, MANY_DELAY) as (server, queue):
        queue(0, [f"customer{n}@many.example" for n in range(MANY)])
        reset = _probe(server, queue, 1, about_account=True)
        measured.delays[f"{MANY:,} mails of another organisation: a password reset"] = (reset, 5.0)
        own = _probe(server, queue, 0, about_account=True)
        measured.delays[f"{MANY:,} mails of the same organisation: a password reset"] = (own, 5.0)
    with _running(content, MANY_DELAY) as (server, queue):
        asyncio.run(_insert_many(content))
        what = f"{2 * MANY:,} mails of another organisation, inserted by one statement"
        measured.delays[what] = (_probe(server, queue, 1), 5.0)


def _measure_backlog(content: Dataset, measured: Mailing) -> None:
    """Open tickets at full speed, and wait until the mails about them are sent."""
    with _running(content, INSTANT) as (server, _queue), processes.place(content.address.service_url, KEY) as where:
        with processes.service(where) as web:
            sent = load.send(web.port, requests.make(content, KEY, CREATE), LOAD_SECONDS)
            beside, stopped = len(server.received), time.perf_counter()
        measured.beside_load = (beside / sent.seconds, sent.rate)
        expected = sent.requests - sent.failed
        server.wait_for_count(expected, TIMEOUT)
        measured.backlog = (time.perf_counter() - stopped, len(server.received) - beside)


KEY = processes.new_key()


class _Queue:
    """Queues mails of an organisation of the dataset, in one transaction, as another process does."""

    def __init__(self, content: Dataset) -> None:
        self._content = content

    def __call__(self, organisation: int, recipients: list[str], *, about_account: bool = False) -> None:
        asyncio.run(self._queue(organisation, recipients, about_account=about_account))

    async def _queue(self, organisation: int, recipients: list[str], *, about_account: bool) -> None:
        org_id = self._content.organisations[organisation].id
        ticket_id = None if about_account else uuid4()
        database = Database(self._content.address.service_url, before_commit=Numbering(), statement_timeout=60)
        async with database.session(UUID(org_id)) as db:
            drafts = [
                MailDraft(recipient=to, subject=SUBJECT, text=TEXT, html=HTML, ticket_id=ticket_id) for to in recipients
            ]
            await mails.queue(db, UUID(org_id), drafts)
        await database.dispose()


@contextmanager
def _running(content: Dataset, delay: float) -> Iterator[tuple[SmtpServer, _Queue]]:
    """Run a server and a worker that sends to it."""
    with smtp_server.running(delay) as server, processes.place(content.address.service_url, KEY) as where:
        settings = {"SMTP_URL": f"smtp://127.0.0.1:{server.port}", "SMTP_CONNECTIONS": str(CONNECTIONS)}
        with processes.worker(where, **settings):
            yield server, _Queue(content)
    data.reset(content)


def _probe(server: SmtpServer, queue: _Queue, organisation: int, *, about_account: bool = False) -> float:
    """Send single mails for some seconds; return the longest delay."""
    delays = []
    for _ in range(PROBES):
        address = f"probe@{uuid4().hex}.example"
        queue(organisation, [address], about_account=about_account)
        delays.append(server.wait_for(address, TIMEOUT))
        time.sleep(max(0.0, HANG_SECONDS / PROBES - delays[-1]))
    return max(delays)


async def _insert_many(content: Dataset) -> None:
    org_id = content.organisations[0].id
    async with data.connected(content.address) as connection:
        await data.execute(connection, org_id, (_INSERT, (org_id, 2 * MANY)))

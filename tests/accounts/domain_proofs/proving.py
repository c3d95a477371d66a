"""Prove domains over HTTP, and read what follows."""

from __future__ import annotations

import re
from uuid import uuid4

import httpx
from sqlalchemy import select, text

from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from tests.databases import eventually
from tests.dns_server import DnsServer
from tests.notifications.users import get_parts, read_files_to
from tests.organisation_client import JSON, Desk, SignedInUser

PATH = "/org/domain/verify"


def unique_domain() -> str:
    return f"d{uuid4().hex}.test"


async def set_record(dns_server: DnsServer, admin: SignedInUser, domain: str) -> None:
    """Set the record that proves the domain for the admin's organisation, beside others."""
    record = (await admin.get("/org/domain", params={"domain": domain})).json()["record"]
    value: str = record["value"]
    dns_server.records[record["name"]] = ['"another record"', f'"{value[:9]}" "{value[9:]}"']


async def prove(dns_server: DnsServer, desk: Desk, domain: str) -> httpx.Response:
    await set_record(dns_server, desk.admin, domain)
    return await desk.admin.post(PATH, {"method": "DNS", "domain": domain})


async def read_organisation(desk: Desk) -> JSON:
    settings: JSON = (await desk.admin.get("/org")).json()
    return settings


async def list_events(desk: Desk, event_type: str) -> list[JSON]:
    conditions = (EventRow.org_id == desk.id, EventRow.type == event_type)
    async with desk.database.session(desk.id) as db:
        return list((await db.scalars(select(EventRow.data).where(*conditions).order_by(EventRow.seq))).all())


async def request_link(desk: Desk, settings: Settings, domain: str) -> str:
    """Ask for the mail that proves the domain; return the token in it."""
    answer = await desk.admin.post(PATH, {"method": "EMAIL", "domain": domain})
    assert answer.status_code == 200, answer.text
    assert answer.json()["mailedTo"] == [f"postmaster@{domain}", f"admin@{domain}"]
    await desk.work(settings)
    (mail,) = read_files_to(settings, f"postmaster@{domain}")
    plain, html = get_parts(mail)
    (link,) = re.findall(r"^\S+#token=\S+$", plain, re.MULTILINE)
    assert f'href="{link}"' in html
    assert link.startswith(f"{settings.base_url}/verify-domain#token=")
    return str(link.partition("#token=")[2])


async def wait_for_waiting(database: Database) -> None:
    """Wait until a transaction waits for the lock of an organisation."""
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")

    async def is_waiting() -> bool:
        async with database.session(None) as db:
            return bool(await db.scalar(waiting))

    assert await eventually(is_waiting)


async def confirm(desk: Desk, token: str) -> httpx.Response:
    return await desk.api.http.post("/org/domain/confirm", json={"token": token})

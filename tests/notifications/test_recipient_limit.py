"""The limit of outside addresses of organisations that have not proved their domain."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from app.core.clock import real_now
from app.core.config import Settings
from app.core.database.pool import Database
from app.notifications import mails
from app.notifications.mails import MailDraft
from app.notifications.models import OutsideRecipient
from app.worker import JOBS, Worker
from tests.conftest import settings_for
from tests.notifications.users import add_user, execute_sql, unique_address
from tests.organisation_client import JSON, PASSWORD, Desk
from tests.postgres import TestServer
from tests.tickets.rows import skip_earlier_work

LIMIT = 3


@pytest.fixture
def settings(server: TestServer, tmp_path: Path) -> Settings:
    return settings_for(server, data_dir=tmp_path, unproved_mail_limit=LIMIT)


@pytest.fixture(autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


async def mail(desk: Desk, *addresses: str) -> None:
    async with desk.database.session(desk.id) as db:
        await mails.queue(db, desk.id, [MailDraft(recipient=one, subject="Hello", text="Hello") for one in addresses])


async def read_log(desk: Desk) -> list[JSON]:
    items: list[JSON] = (await desk.admin.get("/notifications", params={"limit": 100})).json()["items"]
    return items


async def count_statuses(desk: Desk) -> Counter[str]:
    return Counter(one["status"] for one in await read_log(desk))


def unique_addresses(number: int) -> list[str]:
    return [unique_address() for _ in range(number)]


async def test_mails_beyond_the_limit_fail_visibly(desk: Desk, settings: Settings) -> None:
    addresses = unique_addresses(LIMIT + 2)
    for address in addresses:
        await mail(desk, address)
        await desk.work(settings)

    log = {one["to"]: one for one in await read_log(desk)}

    assert [log[one]["status"] for one in addresses] == ["SENT"] * LIMIT + ["FAILED"] * 2
    assert log[addresses[-1]]["lastError"].startswith(
        f"Not sent: an organisation whose domain is not proved may send mail to {LIMIT} outside addresses in 24 hours."
    )
    assert len(list(settings.mail_dir.glob("*.eml"))) == LIMIT


async def test_further_mails_to_the_same_addresses_are_sent(desk: Desk, settings: Settings) -> None:
    addresses = unique_addresses(LIMIT)
    await mail(desk, *addresses)
    await desk.work(settings)
    await mail(desk, *addresses, *addresses)
    await desk.work(settings)

    assert await count_statuses(desk) == {"SENT": 3 * LIMIT}


async def test_the_limit_holds_for_one_batch_and_for_concurrent_workers(desk: Desk, settings: Settings) -> None:
    await mail(desk, *unique_addresses(30))
    await asyncio.gather(*(desk.work(settings) for _ in range(4)))

    assert await count_statuses(desk) == {"SENT": LIMIT, "FAILED": 27}


async def test_the_first_user_and_users_with_a_verified_address_are_not_counted(desk: Desk, settings: Settings) -> None:
    users = [await add_user(desk, email_verified_at=real_now(), role_kind=kind) for kind in ("ADMIN", "CUSTOMER")]
    await mail(desk, *unique_addresses(LIMIT))
    await desk.work(settings)
    await mail(desk, desk.admin.email, *[user.email for user in users])
    await desk.work(settings)

    assert await count_statuses(desk) == {"SENT": LIMIT + 3}


async def test_any_address_can_be_entered_as_that_of_an_admin_so_it_is_counted(desk: Desk, settings: Settings) -> None:
    admins = [await add_user(desk, role_kind="ADMIN") for _ in range(LIMIT + 4)]
    await mail(desk, *[admin.email for admin in admins])
    await desk.work(settings)

    assert await count_statuses(desk) == {"SENT": LIMIT, "FAILED": 4}


async def test_the_first_user_cannot_be_exchanged(desk: Desk, settings: Settings) -> None:
    for _ in range(3):
        admins = [await add_user(desk, role_kind="ADMIN") for _ in range(2)]
        await mail(desk, *[admin.email for admin in admins])
        await desk.work(settings)
        for admin in admins:
            await desk.admin.delete(f"/users/{admin.id}")

    async with desk.database.session(desk.id) as db:
        own = OutsideRecipient.org_id == desk.id
        assert await db.scalar(select(func.count()).select_from(OutsideRecipient).where(own)) == LIMIT


async def test_the_mails_that_prove_the_domain_are_not_counted(desk: Desk, settings: Settings) -> None:
    await mail(desk, *unique_addresses(LIMIT))
    await desk.work(settings)
    await desk.admin.post("/org/domain/verify", {"method": "EMAIL"})
    await desk.work(settings)

    assert await count_statuses(desk) == {"SENT": LIMIT + 2}


async def test_a_proved_domain_has_no_limit(desk: Desk, settings: Settings) -> None:
    await execute_sql(desk, "UPDATE organisations SET domain_verified_at = now() WHERE id = :org")
    await mail(desk, *unique_addresses(LIMIT + 5))
    await desk.work(settings)

    assert await count_statuses(desk) == {"SENT": LIMIT + 5}


async def test_an_address_counts_for_24_hours(desk: Desk, settings: Settings) -> None:
    await mail(desk, *unique_addresses(LIMIT))
    await desk.work(settings)
    async with desk.database.session(desk.id) as db:
        await db.execute(
            update(OutsideRecipient)
            .where(OutsideRecipient.org_id == desk.id)
            .values(mailed_at=real_now() - timedelta(hours=24))
        )
    await mail(desk, *unique_addresses(LIMIT + 1))
    await desk.work(settings)

    assert await count_statuses(desk) == {"SENT": 2 * LIMIT, "FAILED": 1}


async def test_housekeeping_deletes_addresses_that_no_longer_count(
    desk: Desk, settings: Settings, database: Database
) -> None:
    await mail(desk, *unique_addresses(LIMIT))
    await desk.work(settings)
    own = OutsideRecipient.org_id == desk.id
    async with desk.database.session(desk.id) as db:
        first = await db.scalar(select(OutsideRecipient.address_hash).where(own).limit(1))
        old = {"mailed_at": real_now() - timedelta(hours=24)}
        await db.execute(update(OutsideRecipient).where(own, OutsideRecipient.address_hash != first).values(old))

    await JOBS["housekeeping"].run(Worker(settings, database))

    async with desk.database.session(desk.id) as db:
        assert (await db.scalars(select(OutsideRecipient.address_hash).where(own))).all() == [first]


async def test_strangers_who_sign_up_leave_half_of_the_limit_to_the_tickets(desk: Desk, settings: Settings) -> None:
    strangers, requesters = unique_addresses(LIMIT), unique_addresses(1)
    for address in strangers:
        body = {"org": desk.domain, "firstName": "Mia", "email": address, "password": PASSWORD}
        assert (await desk.api.http.post("/auth/signup", json=body)).status_code == 201
    await desk.work(settings)
    await mail(desk, *requesters)
    await desk.work(settings)

    log = {one["to"]: one["status"] for one in await read_log(desk)}
    assert Counter(log[one] for one in strangers) == {"SENT": 2, "FAILED": 1}
    assert log[requesters[0]] == "SENT"

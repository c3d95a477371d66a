"""Erase users while tickets are assigned to them, without a deadlock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from app.access.callers import UserCaller
from app.accounts.erasure import service as erasure
from app.authentication.sessions.queries import find_principal
from app.core.clock import real_now
from app.core.database.pool import Database
from tests.accounts.users_and_roles import add_signed_in_user
from tests.organisation_client import Desk
from tests.tickets.rows import count_by_assignee, pass_time, run_due_timers


async def caller_of(desk: Desk) -> UserCaller:
    """Return the organisation's admin as the caller of a service."""
    async with desk.database.driver(desk.id) as driver:
        found = await find_principal(driver, desk.id, desk.admin.id, desk.admin.session_id, real_now())
    assert found is not None
    tenant, admin = found
    return UserCaller(tenant=tenant, user=admin, now=tenant.now())


async def test_a_ticket_is_assigned_to_a_user_whose_erasure_has_not_committed_yet(
    desk: Desk, database: Database
) -> None:
    engineer, caller = await add_signed_in_user(desk, available=True), await caller_of(desk)

    async with database.session(desk.id) as db:
        await erasure.erase(db, caller, engineer.id)
        await db.flush()
        # If this waited for the erasure, it would hold the counter, and the commit would wait for the counter.
        ticket = await asyncio.wait_for(desk.open(), timeout=5)

    assert ticket["adminId"] == str(engineer.id)
    await pass_time(desk, timedelta(seconds=10))
    await run_due_timers(database)
    assert await count_by_assignee(desk) == {desk.admin.id: 1}


async def test_engineers_are_erased_while_tickets_are_opened(desk: Desk, database: Database) -> None:
    for _ in range(5):
        engineer = await add_signed_in_user(desk, available=True)
        tickets = asyncio.gather(*(desk.open() for _ in range(4)))
        erased, _ = await asyncio.gather(desk.admin.delete(f"/users/{engineer.id}"), tickets)
        assert erased.status_code == 204, erased.text

    await pass_time(desk, timedelta(seconds=10))
    await run_due_timers(database)
    assert await count_by_assignee(desk) == {desk.admin.id: 20}

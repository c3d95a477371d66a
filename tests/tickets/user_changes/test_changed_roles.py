"""A change of a role's permissions unassigns the tickets of all its users."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import insert

from app.accounts.users.models import User as UserRow
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.tickets.queries import lock_ticket
from tests.accounts.users_and_roles import ok
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.tickets.rows import (
    assert_events_are_numbered_densely,
    insert_many,
    pass_time,
    shares,
    skip_earlier_work,
    skip_work,
    timers_of,
    waiting,
    work_off_timers,
)
from tests.tickets.user_changes.test_permissions import (
    BOTH,
    CHANGES,
    SEES,
    STORES,
    a_role,
    change_role,
    deny,
    give,
    have_besides,
)
from tests.tickets.users import an_engineer, change_row, give_all_to


@pytest.fixture(scope="module", autouse=True)
async def _nothing_left(database: Database) -> None:
    await skip_earlier_work(database)


@pytest.fixture
async def bo(desk: Desk) -> SignedInUser:
    """An available engineer."""
    return await an_engineer(desk)


# --- all who have it --------------------------------------------------------------------------------------------------


async def test_a_role_is_combined_with_the_users_own_permissions(desk: Desk, database: Database) -> None:
    role_id = await a_role(desk, BOTH)
    plain, granted, denied = [await an_engineer(desk) for _ in range(3)]
    for user in (plain, granted, denied):
        await give(desk, user, role_id)
    await have_besides(desk, granted, granted=[CHANGES])
    await deny(desk, denied, SEES)
    await desk.open()
    await give_all_to(desk, granted.id)

    await change_role(desk, role_id, SEES)
    await work_off_timers(database)
    assert await shares(desk) == {granted.id: 1}
    assert {(await desk.open())["assigneeId"] for _ in range(3)} == {str(granted.id)}

    await deny(desk, denied)
    await change_role(desk, role_id, BOTH)
    assert {(await desk.open())["assigneeId"] for _ in range(3)} == {str(one.id) for one in (plain, granted, denied)}


async def test_only_users_of_the_role_and_the_organisation_are_affected(
    desk: Desk, api: Api, database: Database, bo: SignedInUser
) -> None:
    role_id, same_table = await a_role(desk, BOTH), await a_role(desk, BOTH)
    await give(desk, bo, same_table)
    kept = await desk.open()
    other = await create_desk(api, database)
    theirs = await other.open()

    await change_role(desk, role_id, STORES)
    await work_off_timers(database)

    assert await desk.read(kept) == kept | {"comments": []}
    assert await other.read(theirs) == theirs | {"comments": []}


@pytest.mark.parametrize("columns", [{"status": "SUSPENDED"}, {"status": "PENDING"}, {"status": "INVITED"}])
async def test_inactive_users_are_updated_too(desk: Desk, bo: SignedInUser, columns: JSON) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    role_id = await a_role(desk, BOTH)
    await give(desk, bo, role_id)
    await change_row(desk, bo, **columns)
    await change_role(desk, role_id, SEES)
    await change_row(desk, bo, status="ACTIVE")
    assert (await desk.open())["assigneeId"] is None


async def test_a_role_of_thousands_is_changed_in_few_statements_and_unassigned_in_batches(
    desk: Desk, database: Database
) -> None:
    role_id = await a_role(desk, BOTH)
    crew = [new_id() for _ in range(3_000)]
    async with database.session(desk.id) as db:
        common = {
            "org_id": desk.id, "first_name": "Bo", "last_name": "Diaz", "role_kind": "ENGINEER",
            "role_id": UUID(role_id), "status": "ACTIVE", "available": True, "created_at": real_now(),
        }  # fmt: skip
        await db.execute(insert(UserRow), [common | {"id": one, "email": f"{one}@growfin.test"} for one in crew])
    await insert_many(desk, 2_500)
    for user_id in crew[:2]:
        await give_some_to(desk, user_id, 1_200)

    await change_role(desk, role_id, STORES)

    left = await shares(desk)
    assert left[None] == 1_100
    assert sum(count for user_id, count in left.items() if user_id in crew) == 1_400
    assert set(await timers_of(desk, {"id": role_id})) == {"ASSIGN", "UNASSIGN_TICKETS_OF_ROLE"}
    for _ in range(4):
        await pass_time(desk, timedelta(seconds=11))
        await work_off_timers(database)
    assert await shares(desk) == {desk.admin.id: 2_500}
    assert await timers_of(desk, {"id": role_id}) == {}
    await assert_events_are_numbered_densely(desk)

    ok(await desk.admin.patch("/me", {"available": False}))
    await give_some_to(desk, None, 1_500)
    await change_role(desk, role_id, BOTH)
    await work_off_timers(database)
    await pass_time(desk, timedelta(seconds=1))
    await work_off_timers(database)
    assert await waiting(desk) == []
    assert set((await shares(desk)).values()) == {1, 1_000}
    await skip_work(desk)


async def give_some_to(desk: Desk, user_id: UUID | None, count: int) -> None:
    """Assign so many of the unassigned tickets, or else of the admin's, to a user, directly."""
    held_by = "IS NULL" if user_id else "IS NOT NULL"
    async with desk.database.session(desk.id) as db:
        connection = await Database.get_driver(db)
        await connection.execute(
            f"UPDATE tickets SET assignee_id = $2 WHERE org_id = $1 AND number = ANY(ARRAY(SELECT number FROM tickets "
            f"WHERE org_id = $1 AND assignee_id {held_by} ORDER BY number LIMIT $3))",
            desk.id, user_id, count,
        )  # fmt: skip


# --- at the same moment -----------------------------------------------------------------------------------------------


async def test_a_locked_ticket_is_unassigned_a_second_later(desk: Desk, database: Database, bo: SignedInUser) -> None:
    role_id = await a_role(desk, BOTH)
    await give(desk, bo, role_id)
    busy, free = await desk.open(), await desk.open()
    async with database.session(desk.id) as db:
        await lock_ticket(db, desk.id, UUID(busy["id"]))
        await change_role(desk, role_id, SEES)
        assert (await desk.read(busy))["assigneeId"] == str(bo.id)
        assert (await desk.read(free))["assigneeId"] is None

    await pass_time(desk, timedelta(seconds=1))
    await work_off_timers(database)

    assert await shares(desk) == {desk.admin.id: 2}


async def test_a_ticket_assigned_in_the_meantime_is_unassigned_seconds_later(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    role_id = await a_role(desk, BOTH)
    await give(desk, bo, role_id)
    ticket = await desk.open()
    await change_role(desk, role_id, SEES)
    await work_off_timers(database)
    await give_all_to(desk, bo.id)  # as a request does that began before

    await pass_time(desk, timedelta(seconds=10))
    await work_off_timers(database)

    assert (await desk.read(ticket))["assigneeId"] == str(desk.admin.id)


async def test_after_concurrent_changes_no_user_keeps_tickets_that_they_may_not_see(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    role_id = await a_role(desk, BOTH)
    await give(desk, bo, role_id)
    for place in range(6):
        tickets = [await desk.open() for _ in range(2)]
        leaving = change_role(desk, role_id, SEES) if place % 2 else deny(desk, bo, CHANGES)

        async def give_by_hand(ticket: JSON) -> int:
            return (await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(bo.id)})).status_code

        first, _, second, *_ = await asyncio.gather(
            give_by_hand(tickets[0]), leaving, give_by_hand(tickets[1]), desk.open(), desk.open()
        )
        await work_off_timers(database)
        await pass_time(desk, timedelta(seconds=10))
        await work_off_timers(database)

        assert {first, second} <= {200, 422}
        assert bo.id not in await shares(desk)
        assert await waiting(desk) == []
        await change_role(desk, role_id, BOTH)
        await deny(desk, bo)
    await assert_events_are_numbered_densely(desk)

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
    assert_events_are_numbered_without_gaps,
    count_by_assignee,
    insert_many,
    list_waiting,
    pass_time,
    read_ticket_timers,
    run_due_timers,
    skip_earlier_work,
    skip_work,
)
from tests.tickets.user_changes.test_permissions import (
    UPDATE,
    VIEW,
    VIEW_AND_UPDATE,
    VIEW_STORES,
    assign_role,
    change_role,
    create_role,
    deny,
    set_overrides,
)
from tests.tickets.users import add_engineer, assign_all_to, change_row


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


@pytest.fixture
async def bo(desk: Desk) -> SignedInUser:
    """An available engineer."""
    return await add_engineer(desk)


# --- the users of the role --------------------------------------------------------------------------------------------


async def test_a_role_is_combined_with_the_users_own_permissions(desk: Desk, database: Database) -> None:
    role_id = await create_role(desk, VIEW_AND_UPDATE)
    plain, granted, denied = [await add_engineer(desk) for _ in range(3)]
    for user in (plain, granted, denied):
        await assign_role(desk, user, role_id)
    await set_overrides(desk, granted, granted=[UPDATE])
    await deny(desk, denied, VIEW)
    await desk.open()
    await assign_all_to(desk, granted.id)

    await change_role(desk, role_id, VIEW)
    await run_due_timers(database)
    assert await count_by_assignee(desk) == {granted.id: 1}
    assert {(await desk.open())["assigneeId"] for _ in range(3)} == {str(granted.id)}

    await deny(desk, denied)
    await change_role(desk, role_id, VIEW_AND_UPDATE)
    assert {(await desk.open())["assigneeId"] for _ in range(3)} == {str(one.id) for one in (plain, granted, denied)}


async def test_only_users_of_the_role_and_the_organisation_are_affected(
    desk: Desk, api: Api, database: Database, bo: SignedInUser
) -> None:
    role_id, same_table = await create_role(desk, VIEW_AND_UPDATE), await create_role(desk, VIEW_AND_UPDATE)
    await assign_role(desk, bo, same_table)
    kept = await desk.open()
    other = await create_desk(api, database)
    theirs = await other.open()

    await change_role(desk, role_id, VIEW_STORES)
    await run_due_timers(database)

    assert await desk.read(kept) == kept | {"comments": []}
    assert await other.read(theirs) == theirs | {"comments": []}


@pytest.mark.parametrize("columns", [{"status": "SUSPENDED"}, {"status": "PENDING"}, {"status": "INVITED"}])
async def test_inactive_users_are_updated_too(desk: Desk, bo: SignedInUser, columns: JSON) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    role_id = await create_role(desk, VIEW_AND_UPDATE)
    await assign_role(desk, bo, role_id)
    await change_row(desk, bo, **columns)
    await change_role(desk, role_id, VIEW)
    await change_row(desk, bo, status="ACTIVE")
    assert (await desk.open())["assigneeId"] is None


async def test_a_role_of_thousands_is_changed_in_few_statements_and_unassigned_in_batches(
    desk: Desk, database: Database
) -> None:
    role_id = await create_role(desk, VIEW_AND_UPDATE)
    crew = [new_id() for _ in range(3_000)]
    async with database.session(desk.id) as db:
        common = {
            "org_id": desk.id, "first_name": "Bo", "last_name": "Diaz", "role_kind": "ENGINEER",
            "role_id": UUID(role_id), "status": "ACTIVE", "available": True, "created_at": real_now(),
        }  # fmt: skip
        await db.execute(insert(UserRow), [common | {"id": one, "email": f"{one}@growfin.test"} for one in crew])
    await insert_many(desk, 2_500)
    for user_id in crew[:2]:
        await assign_some_to(desk, user_id, 1_200)

    await change_role(desk, role_id, VIEW_STORES)

    left = await count_by_assignee(desk)
    assert left[None] == 100
    assert sum(count for user_id, count in left.items() if user_id in crew) == 2_400
    assert set(await read_ticket_timers(desk, {"id": role_id})) == {
        "UNASSIGN_TICKETS_OF_ROLE",
        "UNASSIGN_LATE_TICKETS_OF_ROLE",
    }
    for _ in range(4):
        await pass_time(desk, timedelta(seconds=11))
        await run_due_timers(database)
    assert await count_by_assignee(desk) == {desk.admin.id: 2_500}
    assert await read_ticket_timers(desk, {"id": role_id}) == {}
    await assert_events_are_numbered_without_gaps(desk)

    ok(await desk.admin.patch("/me", {"available": False}))
    await assign_some_to(desk, None, 1_500)
    await change_role(desk, role_id, VIEW_AND_UPDATE)
    await run_due_timers(database)
    await pass_time(desk, timedelta(seconds=1))
    await run_due_timers(database)
    assert await list_waiting(desk) == []
    assert set((await count_by_assignee(desk)).values()) == {1, 1_000}
    await skip_work(desk)


async def assign_some_to(desk: Desk, user_id: UUID | None, count: int) -> None:
    """Assign this many unassigned tickets to a user, without the service; with `None`, unassign this many tickets."""
    held_by = "IS NULL" if user_id else "IS NOT NULL"
    async with desk.database.session(desk.id) as db:
        connection = await Database.get_driver(db)
        await connection.execute(
            f"UPDATE tickets SET assignee_id = $2 WHERE org_id = $1 AND number = ANY(ARRAY(SELECT number FROM tickets "
            f"WHERE org_id = $1 AND assignee_id {held_by} ORDER BY number LIMIT $3))",
            desk.id, user_id, count,
        )  # fmt: skip


# --- concurrent changes -----------------------------------------------------------------------------------------------


async def test_a_locked_ticket_is_unassigned_a_second_later(desk: Desk, database: Database, bo: SignedInUser) -> None:
    role_id = await create_role(desk, VIEW_AND_UPDATE)
    await assign_role(desk, bo, role_id)
    busy, free = await desk.open(), await desk.open()
    async with database.session(desk.id) as db:
        await lock_ticket(db, desk.id, UUID(busy["id"]))
        await change_role(desk, role_id, VIEW)
        await run_due_timers(database)
        assert (await desk.read(busy))["assigneeId"] == str(bo.id)
        assert (await desk.read(free))["assigneeId"] == str(desk.admin.id)

    await pass_time(desk, timedelta(seconds=1))
    await run_due_timers(database)

    assert await count_by_assignee(desk) == {desk.admin.id: 2}


async def test_a_ticket_assigned_in_the_meantime_is_unassigned_seconds_later(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    role_id = await create_role(desk, VIEW_AND_UPDATE)
    await assign_role(desk, bo, role_id)
    ticket = await desk.open()
    await change_role(desk, role_id, VIEW)
    await run_due_timers(database)
    await assign_all_to(desk, bo.id)  # like a request that began before the change

    await pass_time(desk, timedelta(seconds=10))
    await run_due_timers(database)

    assert (await desk.read(ticket))["assigneeId"] == str(desk.admin.id)


async def test_after_concurrent_changes_no_user_keeps_tickets_that_they_may_not_see(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    role_id = await create_role(desk, VIEW_AND_UPDATE)
    await assign_role(desk, bo, role_id)
    for place in range(6):
        tickets = [await desk.open() for _ in range(2)]
        leaving = change_role(desk, role_id, VIEW) if place % 2 else deny(desk, bo, UPDATE)

        async def give_by_hand(ticket: JSON) -> int:
            return (await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(bo.id)})).status_code

        first, _, second, *_ = await asyncio.gather(
            give_by_hand(tickets[0]), leaving, give_by_hand(tickets[1]), desk.open(), desk.open()
        )
        await run_due_timers(database)
        await pass_time(desk, timedelta(seconds=10))
        await run_due_timers(database)

        assert {first, second} <= {200, 422}
        assert bo.id not in await count_by_assignee(desk)
        assert await list_waiting(desk) == []
        await change_role(desk, role_id, VIEW_AND_UPDATE)
        await deny(desk, bo)
    await assert_events_are_numbered_without_gaps(desk)

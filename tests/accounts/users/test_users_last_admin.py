"""An organisation keeps one full admin, even if several leave concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.user_permissions import RoleKind
from app.accounts.roles import rules as roles
from app.accounts.users import queries as users
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus, is_full_admin
from app.core.database.pool import Database
from tests.accounts.users_and_roles import ADMIN, add_role, add_signed_in_user, add_user, list_events, ok, read_row
from tests.organisation_client import Desk, SignedInUser
from tests.problems import assert_problem

DENIAL = {"granted": [], "denied": [{"resource": "keys", "view": True}]}
DEPARTURES: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"role": "ENGINEER"}),
    ("PATCH", "", {"role": "CUSTOMER"}),
    ("PATCH", "", {"status": "SUSPENDED"}),
    ("PUT", "/role", {"roleId": str(roles.ENGINEER.id)}),
    ("PUT", "/permissions", DENIAL),
    ("DELETE", "", None),
]
each_departure = pytest.mark.parametrize(("method", "path", "body"), DEPARTURES)


async def change(caller: SignedInUser, method: str, user: SignedInUser, path: str, body: Any) -> httpx.Response:
    return await caller.http.request(method, f"/users/{user.id}{path}", json=body, headers=caller.headers)


async def count_full_admins(desk: Desk) -> int:
    """Count the full admins, as the rule defines them."""
    async with desk.database.session(desk.id) as db:
        rows = await db.scalars(select(UserRow).where(UserRow.org_id == desk.id))
        return sum(
            row.status == "ACTIVE" and row.role_kind == "ADMIN" and row.role_id is None and row.denied == []
            for row in rows
        )


@each_departure
async def test_the_last_admin_can_be_neither_demoted_suspended_nor_erased(
    desk: Desk, method: str, path: str, body: Any
) -> None:
    await add_user(desk, ADMIN, status="SUSPENDED")
    await add_user(desk, ADMIN, status="PENDING")
    await add_user(desk, ADMIN, denied=["keys:view"])
    await add_user(desk, ADMIN, role_id=await add_role(desk, *roles.ADMIN.permissions, role=ADMIN))
    assert_problem(await change(desk.admin, method, desk.admin, path, body), 409, "last_admin")
    ok(await desk.admin.get("/users"))
    assert (await read_row(desk, desk.admin.id)).permissions == roles.ADMIN.permissions
    assert [kind for kind, _ in await list_events(desk, desk.admin.id)] == ["user.signed_up"]


async def test_an_admin_with_a_custom_role_of_all_permissions_does_not_count(desk: Desk) -> None:
    equal = await add_role(desk, *roles.ADMIN.permissions, role=ADMIN)
    assert_problem(await desk.admin.put(f"/users/{desk.admin.id}/role", {"roleId": str(equal)}), 409, "last_admin")
    other = await add_signed_in_user(desk, ADMIN, role_id=equal)
    assert_problem(await change(other, "DELETE", desk.admin, "", None), 409, "last_admin")


@each_departure
async def test_one_of_two_admins_can_be_demoted_suspended_or_erased(
    desk: Desk, method: str, path: str, body: Any
) -> None:
    other = await desk.another_admin()
    assert (await change(other, method, desk.admin, path, body)).status_code in {200, 204}
    assert_problem(await change(other, method, other, path, body), 409, "last_admin")


async def test_the_last_admin_can_change_other_fields(desk: Desk) -> None:
    ok(await desk.admin.patch(f"/users/{desk.admin.id}", {"role": "ADMIN", "status": "ACTIVE", "available": False}))


# --- concurrent changes ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def blocked(
    desk: Desk, *requests: Coroutine[Any, Any, httpx.Response]
) -> AsyncIterator[tuple[AsyncSession, list[asyncio.Task[httpx.Response]]]]:
    """Run requests until all of them wait for a lock, and let them continue at the end of the block."""
    async with desk.database.session(desk.id) as db:
        first = await db.scalar(select(UserRow.id).where(UserRow.org_id == desk.id).order_by(UserRow.id).limit(1))
        assert first is not None
        await users.lock_user(db, desk.id, first)
        running = [asyncio.create_task(request) for request in requests]
        while await _count_waiting(desk.database) < len(running):
            assert not any(task.done() for task in running), running
            await asyncio.sleep(0.01)
        yield db, running
    await asyncio.wait(running)


async def _count_waiting(database: Database) -> int:
    async with database.session(None) as db:
        found = await db.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
    return found or 0


async def run_concurrently(desk: Desk, *requests: Coroutine[Any, Any, httpx.Response]) -> list[httpx.Response]:
    async with blocked(desk, *requests) as (_, running):
        pass
    return [task.result() for task in running]


@each_departure
async def test_one_of_two_admins_who_demote_each_other_concurrently_stays(
    desk: Desk, method: str, path: str, body: Any
) -> None:
    one, other = desk.admin, await desk.another_admin()
    answers = await run_concurrently(
        desk, change(one, method, other, path, body), change(other, method, one, path, body)
    )
    (refusal,) = [answer for answer in answers if answer.status_code not in {200, 204}]
    assert_problem(refusal, 409, "last_admin")
    assert await count_full_admins(desk) == 1


@each_departure
async def test_one_of_two_admins_who_leave_concurrently_stays(desk: Desk, method: str, path: str, body: Any) -> None:
    one, other = desk.admin, await desk.another_admin()
    answers = await run_concurrently(
        desk, change(one, method, one, path, body), change(other, method, other, path, body)
    )
    (refusal,) = [answer for answer in answers if answer.status_code not in {200, 204}]
    assert_problem(refusal, 409, "last_admin")
    assert await count_full_admins(desk) == 1


async def test_an_admin_who_is_being_erased_cannot_demote_another(desk: Desk) -> None:
    one, other, third = desk.admin, await desk.another_admin(), await desk.another_admin("cy@growfin.test")
    erase, demote = change(one, "DELETE", other, "", None), change(other, "PATCH", third, "", {"role": "CUSTOMER"})
    erased, demoted = await run_concurrently(desk, erase, demote)
    # If the erasure comes first, the demotion is refused, because its caller is gone.
    assert erased.status_code == 204
    if demoted.status_code != 200:
        assert_problem(demoted, 401, "invalid_token")
    assert (await read_row(desk, third.id)).role_kind == ("CUSTOMER" if demoted.status_code == 200 else "ADMIN")


async def test_an_admin_who_was_demoted_meanwhile_cannot_demote_another(desk: Desk) -> None:
    other, third = await desk.another_admin(), await desk.another_admin("cy@growfin.test")
    async with blocked(desk, change(other, "PATCH", third, "", {"role": "CUSTOMER"})) as (db, running):
        (await users.lock_user(db, desk.id, other.id)).role_kind = RoleKind.ENGINEER
    assert_problem(running[0].result(), 401, "invalid_token")
    assert (await read_row(desk, third.id)).role_kind == "ADMIN"


async def test_one_of_many_admins_who_erase_each_other_concurrently_stays(desk: Desk) -> None:
    admins = [desk.admin, *[await desk.another_admin(f"a{place}@growfin.test") for place in range(4)]]
    pairs = zip(admins, admins[1:] + admins[:1], strict=True)
    answers = await asyncio.gather(*(change(one, "DELETE", other, "", None) for one, other in pairs))
    assert {answer.status_code for answer in answers} <= {204, 401, 409}
    assert await count_full_admins(desk) == len(admins) - sum(answer.status_code == 204 for answer in answers) >= 1


async def test_the_locked_users_include_every_full_admin_and_no_user_who_cannot_be_one(desk: Desk) -> None:
    role_id = await add_role(desk, *roles.ADMIN.permissions, role=ADMIN)
    statuses = [status for status in AccountStatus if status != AccountStatus.ERASED]
    for status, kind in product(statuses, RoleKind):
        await add_user(desk, kind, status=status)
        await add_user(desk, ADMIN, status=status, role_id=role_id)
    denied = await add_user(desk, ADMIN, denied=["keys:view"])

    async with desk.database.session(desk.id) as db:
        locked = await users.lock_with_admins(db, desk.id)
        rows = await db.scalars(select(UserRow).where(UserRow.org_id == desk.id))
        full_admins = {
            row.id
            for row in rows
            if is_full_admin(role_kind=row.role_kind, role_id=row.role_id, status=row.status, denied=row.denied)
        }

    assert locked.keys() == {*full_admins, denied.id}, "what is denied may change until they are locked"
    assert desk.admin.id in full_admins

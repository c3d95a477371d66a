"""An organisation keeps an active admin who may do everything, whoever goes at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import RoleKind
from app.accounts.roles import rules as roles
from app.accounts.users import queries as users
from app.accounts.users.models import User as UserRow
from app.core.database.pool import Database
from tests.accounts.crew import ADMIN, a_role, events_about, hire, ok, row_of, sign_in
from tests.organisation_client import Desk, SignedInUser
from tests.problems import refused

DENIAL = {"granted": [], "denied": [{"resource": "keys", "view": True}]}
GOING: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"role": "ENGINEER"}),
    ("PATCH", "", {"role": "CUSTOMER"}),
    ("PATCH", "", {"status": "SUSPENDED"}),
    ("PUT", "/role", {"roleId": str(roles.ENGINEER.id)}),
    ("PUT", "/permissions", DENIAL),
    ("DELETE", "", None),
]
EACH = pytest.mark.parametrize(("method", "path", "body"), GOING)


async def do(user: SignedInUser, method: str, whom: SignedInUser, path: str, body: Any) -> httpx.Response:
    return await user.http.request(method, f"/users/{whom.id}{path}", json=body, headers=user.headers)


async def full_admins(desk: Desk) -> int:
    """How many there are, by the rule's own words."""
    async with desk.database.session(desk.id) as db:
        rows = await db.scalars(select(UserRow).where(UserRow.org_id == desk.id))
        return sum(
            row.status == "ACTIVE" and row.role_kind == "ADMIN" and row.role_id is None and row.denied == []
            for row in rows
        )


@EACH
async def test_the_last_one_cannot_go(desk: Desk, method: str, path: str, body: Any) -> None:
    await hire(desk, ADMIN, status="SUSPENDED")
    await hire(desk, ADMIN, status="PENDING")
    await hire(desk, ADMIN, denied=["keys:view"])
    await hire(desk, ADMIN, role_id=await a_role(desk, *roles.ADMIN.permissions, role=ADMIN))
    refused(await do(desk.admin, method, desk.admin, path, body), 409, "last_admin")
    ok(await desk.admin.get("/users"))
    assert (await row_of(desk, desk.admin.id)).permissions == roles.ADMIN.permissions
    assert [kind for kind, _ in await events_about(desk, desk.admin.id)] == ["user.signed_up"]


async def test_not_even_a_role_with_all_permissions_stands_for_it(desk: Desk) -> None:
    equal = await a_role(desk, *roles.ADMIN.permissions, role=ADMIN)
    refused(await desk.admin.put(f"/users/{desk.admin.id}/role", {"roleId": str(equal)}), 409, "last_admin")
    other = await sign_in(desk, ADMIN, role_id=equal)
    refused(await do(other, "DELETE", desk.admin, "", None), 409, "last_admin")


@EACH
async def test_one_of_two_can_go(desk: Desk, method: str, path: str, body: Any) -> None:
    other = await desk.another_admin()
    assert (await do(other, method, desk.admin, path, body)).status_code in {200, 204}
    refused(await do(other, method, other, path, body), 409, "last_admin")


async def test_the_last_one_can_still_change_what_does_not_matter(desk: Desk) -> None:
    ok(await desk.admin.patch(f"/users/{desk.admin.id}", {"role": "ADMIN", "status": "ACTIVE", "available": False}))


# --- at the same moment -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def held_up(
    desk: Desk, *requests: Coroutine[Any, Any, httpx.Response]
) -> AsyncIterator[tuple[AsyncSession, list[asyncio.Task[httpx.Response]]]]:
    """Requests that have come so far as to wait for somebody else's transaction; they go on when this ends."""
    async with desk.database.session(desk.id) as db:
        first = await db.scalar(select(UserRow.id).where(UserRow.org_id == desk.id).order_by(UserRow.id).limit(1))
        assert first is not None
        await users.lock_user(db, desk.id, first)
        running = [asyncio.create_task(request) for request in requests]
        while await _waiting(desk.database) < len(running):
            assert not any(task.done() for task in running), running
            await asyncio.sleep(0.01)
        yield db, running
    await asyncio.wait(running)


async def _waiting(database: Database) -> int:
    async with database.session(None) as db:
        found = await db.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
    return found or 0


async def at_once(desk: Desk, *requests: Coroutine[Any, Any, httpx.Response]) -> list[httpx.Response]:
    async with held_up(desk, *requests) as (_, running):
        pass
    return [task.result() for task in running]


@EACH
async def test_of_two_who_take_each_others_place_away_one_stays(desk: Desk, method: str, path: str, body: Any) -> None:
    one, other = desk.admin, await desk.another_admin()
    answers = await at_once(desk, do(one, method, other, path, body), do(other, method, one, path, body))
    (lost,) = [answer for answer in answers if answer.status_code not in {200, 204}]
    refused(lost, 409, "last_admin")
    assert await full_admins(desk) == 1


@EACH
async def test_of_two_who_go_one_stays(desk: Desk, method: str, path: str, body: Any) -> None:
    one, other = desk.admin, await desk.another_admin()
    answers = await at_once(desk, do(one, method, one, path, body), do(other, method, other, path, body))
    (lost,) = [answer for answer in answers if answer.status_code not in {200, 204}]
    refused(lost, 409, "last_admin")
    assert await full_admins(desk) == 1


async def test_who_has_just_lost_their_place_takes_nobodys(desk: Desk) -> None:
    one, other, third = desk.admin, await desk.another_admin(), await desk.another_admin("cy@growfin.test")
    erase, demote = do(one, "DELETE", other, "", None), do(other, "PATCH", third, "", {"role": "CUSTOMER"})
    erased, demoted = await at_once(desk, erase, demote)
    # Whichever came first: a later one by somebody who is gone is not let through.
    assert erased.status_code == 204
    if demoted.status_code != 200:
        refused(demoted, 401, "invalid_token")
    assert (await row_of(desk, third.id)).role_kind == ("CUSTOMER" if demoted.status_code == 200 else "ADMIN")


async def test_a_demotion_that_is_overtaken_by_ones_own_is_refused(desk: Desk) -> None:
    other, third = await desk.another_admin(), await desk.another_admin("cy@growfin.test")
    async with held_up(desk, do(other, "PATCH", third, "", {"role": "CUSTOMER"})) as (db, running):
        (await users.lock_user(db, desk.id, other.id)).role_kind = RoleKind.ENGINEER
    refused(running[0].result(), 401, "invalid_token")
    assert (await row_of(desk, third.id)).role_kind == "ADMIN"


async def test_many_at_once_leave_one(desk: Desk) -> None:
    admins = [desk.admin, *[await desk.another_admin(f"a{place}@growfin.test") for place in range(4)]]
    pairs = zip(admins, admins[1:] + admins[:1], strict=True)
    answers = await asyncio.gather(*(do(one, "DELETE", other, "", None) for one, other in pairs))
    assert {answer.status_code for answer in answers} <= {204, 401, 409}
    assert await full_admins(desk) == len(admins) - sum(answer.status_code == 204 for answer in answers) >= 1

"""`users.works_on_tickets` follows from the permissions of a user, whatever changes them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import selectinload

from app.access.user_permissions import TICKET_WORK
from app.accounts.roles import rules as roles
from app.accounts.roles.schemas import as_table
from app.accounts.users.errors import LastAdmin
from app.accounts.users.models import User as UserRow
from app.core.database.pool import Database
from app.core.outbox.models import Counter
from tests.accounts.users_and_roles import ADMIN, CUSTOMER, add_role, add_user, list_events, ok, read_row
from tests.organisation_client import JSON, Desk
from tests.problems import assert_problem
from tests.services import unique_email

BOTH = ("tickets:view", "tickets:update")
Permissions = tuple[str, ...]
OTHERS = {"granted": [], "denied": [{"resource": "vendors", "view": True}]}


def table(*permissions: str) -> list[JSON]:
    """Return a permission table as a request contains it."""
    return [row.model_dump(mode="json") for row in as_table(frozenset(permissions))]


def permission_lists(granted: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> JSON:
    return {"granted": table(*granted), "denied": table(*denied)}


async def works_on_tickets(desk: Desk, user_id: UUID) -> bool:
    return (await read_row(desk, user_id)).works_on_tickets


async def list_inconsistent(desk: Desk) -> list[UserRow]:
    """List the users whose `works_on_tickets` does not match their permissions."""
    async with desk.database.session(desk.id) as db:
        rows = await db.scalars(select(UserRow).options(selectinload(UserRow.role)).where(UserRow.org_id == desk.id))
        return [row for row in rows if row.works_on_tickets != (row.permissions >= TICKET_WORK)]


def test_working_on_tickets_requires_both_permissions() -> None:
    assert set(BOTH) == TICKET_WORK
    assert all(role.permissions >= TICKET_WORK for role in roles.BUILT_IN.values())


@pytest.mark.parametrize(
    ("of_role", "granted", "denied", "expected"),
    [
        (BOTH, (), (), True),
        ((), (), (), False),
        (("tickets:view",), (), (), False),
        (("tickets:update", "stores:view"), (), (), False),
        (("tickets:view",), ("tickets:update",), (), True),
        ((), BOTH, (), True),
        (BOTH, (), ("tickets:view",), False),
        (BOTH, BOTH[:1], BOTH[1:], False),
        (BOTH, (), ("tickets:delete",), True),
    ],
)
@pytest.mark.parametrize("order", ["role first", "lists first", "role changed"])
async def test_works_on_tickets_follows_from_the_role_and_the_overrides(
    desk: Desk, order: str, of_role: Permissions, granted: Permissions, denied: Permissions, *, expected: bool
) -> None:
    row = await add_user(desk)
    path = f"/users/{row.id}"
    role_id = await add_role(desk, *(("stores:view", *BOTH[:1]) if order == "role changed" else of_role))
    steps: list[tuple[str, JSON]] = [
        ("/role", {"roleId": str(role_id)}),
        ("/permissions", permission_lists(granted, denied)),
    ]
    for step, body in steps if order == "role first" else steps[::-1]:
        ok(await desk.admin.put(path + step, body))
    if order == "role changed":
        ok(await desk.admin.patch(f"/roles/{role_id}", {"permissions": table(*of_role)}))
    assert await works_on_tickets(desk, row.id) is expected
    assert await list_inconsistent(desk) == []


@pytest.mark.parametrize("role", ["ADMIN", "ENGINEER", "CUSTOMER"])
async def test_users_of_every_built_in_role_work_on_tickets(desk: Desk, role: str) -> None:
    row = await add_user(desk, role_id=await add_role(desk))
    assert not await works_on_tickets(desk, row.id)
    ok(await desk.admin.patch(f"/users/{row.id}", {"role": role}))
    assert await works_on_tickets(desk, row.id)


@pytest.mark.parametrize("permissions", [BOTH, ("tickets:view",), ()])
async def test_works_on_tickets_is_set_for_an_invited_user(desk: Desk, permissions: tuple[str, ...]) -> None:
    body = {"firstName": "Bo", "lastName": "Diaz", "email": unique_email()}
    answer = await desk.admin.post("/users", body | {"roleId": str(await add_role(desk, *permissions))})
    assert answer.status_code == 201, answer.text
    assert await works_on_tickets(desk, UUID(answer.json()["id"])) is (permissions == BOTH)
    assert await list_inconsistent(desk) == []


async def test_a_role_change_that_does_not_concern_tickets_writes_to_no_user(desk: Desk) -> None:
    role_id = await add_role(desk, *BOTH, "vendors:view")
    row = await add_user(desk, role_id=role_id)

    async def row_version() -> Any:
        async with desk.database.session(desk.id) as db:
            return await db.scalar(text("SELECT xmin::text FROM users WHERE id = :id").bindparams(id=row.id))

    before = await row_version()
    ok(await desk.admin.patch(f"/roles/{role_id}", {"permissions": table(*BOTH)}))
    ok(await desk.admin.patch(f"/roles/{role_id}", {"name": "Another"}))
    assert await row_version() == before


# --- availability ----------------------------------------------------------------------------------------------------


async def test_the_available_filter_finds_users_whom_new_tickets_may_be_assigned_to(desk: Desk) -> None:
    switched_on: dict[str, Any] = {"available": True}
    assignable = await add_user(desk, **switched_on)
    others = [
        await add_user(desk),
        await add_user(desk, status="SUSPENDED", **switched_on),
        await add_user(desk, status="INVITED", **switched_on),
        await add_user(desk, CUSTOMER, **switched_on),
        await add_user(desk, denied=["tickets:view"], **switched_on),
        await add_user(desk, ADMIN, role_id=await add_role(desk, "tickets:view", role=ADMIN), **switched_on),
    ]
    for available, expected in (("true", {assignable.id, desk.admin.id}), ("false", {one.id for one in others})):
        result = ok(await desk.admin.get("/users", params={"available": available, "limit": 100, "include": "total"}))
        assert {UUID(item["id"]) for item in result["items"]} == expected
        assert result["total"] == len(expected)
    shown = ok(await desk.admin.get(f"/users/{others[-1].id}"))
    assert shown["available"] is True  # whether the user wants new tickets


async def test_became_available_is_recorded_when_tickets_can_be_assigned_again(desk: Desk) -> None:
    row = await add_user(desk, available=True)
    path = f"/users/{row.id}/permissions"
    for body in (
        permission_lists(denied=("tickets:view",)),
        OTHERS,
        permission_lists(denied=("tickets:update",)),
        permission_lists(),
    ):
        ok(await desk.admin.put(path, body))
    kinds = [kind for kind, _ in await list_events(desk, row.id)]
    changed, available = "user.permissions_changed", "user.became_available"
    assert kinds == [changed, changed, available, changed, changed, available]


async def test_the_refusal_explains_what_the_last_admin_is(desk: Desk) -> None:
    await add_user(desk, ADMIN, role_id=await add_role(desk, *roles.ADMIN.permissions, role=ADMIN))
    await add_user(desk, ADMIN, denied=["keys:view"])
    problem = assert_problem(await desk.admin.delete(f"/users/{desk.admin.id}"), 409, "last_admin")
    assert problem["title"] == LastAdmin.title
    assert "built-in role Admin and no denied permissions" in problem["title"]


# --- concurrent changes ----------------------------------------------------------------------------------------------


async def count_waiting(database: Database) -> int:
    async with database.session(None) as db:
        statement = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return await db.scalar(text(statement)) or 0


async def wait_until_waiting(database: Database, requests: int) -> None:
    """Wait until this many requests wait for the locks of other transactions."""
    for _ in range(300):
        if await count_waiting(database) == requests:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("The requests do not wait for locks.")


@pytest.mark.parametrize("change", ["assigned", "granted", "invited"])
async def test_a_role_change_applies_to_users_who_concurrently_get_the_role(desk: Desk, change: str) -> None:
    role_id = await add_role(desk, *(BOTH if change != "granted" else BOTH[:1]))
    row = await add_user(desk, role_id=role_id if change == "granted" else None)
    admin, path = desk.admin, f"/users/{row.id}"
    invitation = {"firstName": "Bo", "lastName": "Diaz", "email": unique_email(), "roleId": str(role_id)}
    async with desk.database.session(desk.id) as db:
        # Requests that wait for this lock have done everything except committing.
        await db.scalar(select(Counter.last_event).where(Counter.org_id == desk.id).with_for_update(key_share=True))
        match change:
            case "assigned":
                first = asyncio.create_task(admin.put(f"{path}/role", {"roleId": str(role_id)}))
            case "granted":
                first = asyncio.create_task(admin.put(f"{path}/permissions", permission_lists(granted=BOTH[1:])))
            case _:
                first = asyncio.create_task(admin.post("/users", invitation))
        await wait_until_waiting(desk.database, 1)
        second = asyncio.create_task(admin.patch(f"/roles/{role_id}", {"permissions": table("stores:view")}))
        await wait_until_waiting(desk.database, 2)
    assert [(await task).is_success for task in (first, second)] == [True, True]
    assert await list_inconsistent(desk) == []
    assert [one for one in await list_users_of_role(desk, role_id) if one.works_on_tickets] == []


async def list_users_of_role(desk: Desk, role_id: UUID) -> list[UserRow]:
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(UserRow).where(UserRow.org_id == desk.id, UserRow.role_id == role_id)))


async def test_concurrent_changes_leave_consistent_rows_and_do_not_deadlock(desk: Desk) -> None:
    role_ids = [await add_role(desk, *BOTH), await add_role(desk, BOTH[0])]
    crew = [await add_user(desk, role_id=role_id) for role_id in role_ids * 2]
    admin = desk.admin
    for turn in range(4):
        more, less = table(*BOTH, "stores:view"), table(BOTH[turn % 2])
        answers = await asyncio.gather(
            *(admin.patch(f"/roles/{one}", {"permissions": (more, less)[turn % 2]}) for one in role_ids),
            *(
                admin.put(f"/users/{row.id}/role", {"roleId": str(role_ids[(turn + place) % 2])})
                for place, row in enumerate(crew)
            ),
            *(admin.put(f"/users/{row.id}/permissions", permission_lists(denied=BOTH[: turn % 3])) for row in crew),
            *(admin.patch(f"/users/{row.id}", {"available": turn % 2 == 0}) for row in crew),
        )
        assert {answer.status_code for answer in answers} == {200}
        assert await list_inconsistent(desk) == []

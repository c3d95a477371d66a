"""Whether somebody may see and change tickets is noted with them, and right whatever changes their permissions."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import selectinload

from app.access.permissions import TICKET_WORK
from app.accounts.roles import rules as roles
from app.accounts.roles.schemas import as_table
from app.accounts.users.errors import LastAdmin
from app.accounts.users.models import User as UserRow
from app.core.database.pool import Database
from app.core.outbox.models import Counter
from tests.accounts.crew import ADMIN, CUSTOMER, a_role, events_about, hire, ok, row_of
from tests.organisation_client import JSON, Desk
from tests.problems import refused
from tests.services import unique_email

BOTH = ("tickets:view", "tickets:update")
Texts = tuple[str, ...]
OTHERS = {"granted": [], "denied": [{"resource": "vendors", "view": True}]}


def table(*permissions: str) -> list[JSON]:
    """As requests write it."""
    return [row.model_dump(mode="json") for row in as_table(frozenset(permissions))]


def lists(granted: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> JSON:
    return {"granted": table(*granted), "denied": table(*denied)}


async def works(desk: Desk, user_id: UUID) -> bool:
    return (await row_of(desk, user_id)).works_on_tickets


async def wrongly_noted(desk: Desk) -> list[UserRow]:
    """Of whom it does not say what their permissions do."""
    async with desk.database.session(desk.id) as db:
        rows = await db.scalars(select(UserRow).options(selectinload(UserRow.role)).where(UserRow.org_id == desk.id))
        return [row for row in rows if row.works_on_tickets != (row.permissions >= TICKET_WORK)]


def test_it_takes_both_permissions() -> None:
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
async def test_what_follows_from_a_role_and_what_is_besides_it_is_noted(
    desk: Desk, order: str, of_role: Texts, granted: Texts, denied: Texts, *, expected: bool
) -> None:
    row = await hire(desk)
    path = f"/users/{row.id}"
    role_id = await a_role(desk, *(("stores:view", *BOTH[:1]) if order == "role changed" else of_role))
    steps: list[tuple[str, JSON]] = [("/role", {"roleId": str(role_id)}), ("/permissions", lists(granted, denied))]
    for step, body in steps if order == "role first" else steps[::-1]:
        ok(await desk.admin.put(path + step, body))
    if order == "role changed":
        ok(await desk.admin.patch(f"/roles/{role_id}", {"permissions": table(*of_role)}))
    assert await works(desk, row.id) is expected
    assert await wrongly_noted(desk) == []


@pytest.mark.parametrize("role", ["ADMIN", "ENGINEER", "CUSTOMER"])
async def test_a_built_in_role_gives_both(desk: Desk, role: str) -> None:
    row = await hire(desk, role_id=await a_role(desk))
    assert not await works(desk, row.id)
    ok(await desk.admin.patch(f"/users/{row.id}", {"role": role}))
    assert await works(desk, row.id)


@pytest.mark.parametrize("permissions", [BOTH, ("tickets:view",), ()])
async def test_it_is_noted_of_who_is_invited(desk: Desk, permissions: tuple[str, ...]) -> None:
    body = {"firstName": "Bo", "lastName": "Diaz", "email": unique_email()}
    answer = await desk.admin.post("/users", body | {"roleId": str(await a_role(desk, *permissions))})
    assert answer.status_code == 201, answer.text
    assert await works(desk, UUID(answer.json()["id"])) is (permissions == BOTH)
    assert await wrongly_noted(desk) == []


async def test_a_role_that_loses_something_else_is_no_reason_to_write_to_its_users(desk: Desk) -> None:
    role_id = await a_role(desk, *BOTH, "vendors:view")
    row = await hire(desk, role_id=role_id)

    async def written() -> Any:
        async with desk.database.session(desk.id) as db:
            return await db.scalar(text("SELECT xmin::text FROM users WHERE id = :id").bindparams(id=row.id))

    before = await written()
    ok(await desk.admin.patch(f"/roles/{role_id}", {"permissions": table(*BOTH)}))
    ok(await desk.admin.patch(f"/roles/{role_id}", {"name": "Another"}))
    assert await written() == before


# --- who is available -------------------------------------------------------------------------------------------------


async def test_those_whom_new_tickets_may_go_to_are_listed_as_available(desk: Desk) -> None:
    switched_on: dict[str, Any] = {"available": True}
    works_on = await hire(desk, **switched_on)
    others = [
        await hire(desk),
        await hire(desk, status="SUSPENDED", **switched_on),
        await hire(desk, status="INVITED", **switched_on),
        await hire(desk, CUSTOMER, **switched_on),
        await hire(desk, denied=["tickets:view"], **switched_on),
        await hire(desk, ADMIN, role_id=await a_role(desk, "tickets:view", role=ADMIN), **switched_on),
    ]
    for available, expected in (("true", {works_on.id, desk.admin.id}), ("false", {one.id for one in others})):
        said = ok(await desk.admin.get("/users", params={"available": available, "limit": 100, "include": "total"}))
        assert {UUID(item["id"]) for item in said["items"]} == expected
        assert said["total"] == len(expected)
    shown = ok(await desk.admin.get(f"/users/{others[-1].id}"))
    assert shown["available"] is True  # their own switch


async def test_who_becomes_available_is_told_of_only_where_tickets_may_go_to_them(desk: Desk) -> None:
    row = await hire(desk, available=True)
    path = f"/users/{row.id}/permissions"
    for body in (lists(denied=("tickets:view",)), OTHERS, lists(denied=("tickets:update",)), lists()):
        ok(await desk.admin.put(path, body))
    kinds = [kind for kind, _ in await events_about(desk, row.id)]
    changed, available = "user.permissions_changed", "user.became_available"
    assert kinds == [changed, changed, available, changed, changed, available]


async def test_the_refusal_says_who_is_the_last_admin(desk: Desk) -> None:
    await hire(desk, ADMIN, role_id=await a_role(desk, *roles.ADMIN.permissions, role=ADMIN))
    await hire(desk, ADMIN, denied=["keys:view"])
    problem = refused(await desk.admin.delete(f"/users/{desk.admin.id}"), 409, "last_admin")
    assert problem["title"] == LastAdmin.title
    assert "built-in role Admin with nothing denied" in problem["title"]


# --- at the same moment -----------------------------------------------------------------------------------------------


async def waiting_for_locks(database: Database) -> int:
    async with database.session(None) as db:
        statement = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return await db.scalar(text(statement)) or 0


async def wait_until_waiting(database: Database, requests: int) -> None:
    """Until so many have come so far as to wait for somebody else's transaction."""
    for _ in range(300):
        if await waiting_for_locks(database) == requests:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("they do not wait")


@pytest.mark.parametrize("change", ["given", "granted", "invited"])
async def test_a_role_that_is_changed_while_somebody_gets_it_counts_for_them_too(desk: Desk, change: str) -> None:
    role_id = await a_role(desk, *(BOTH if change != "granted" else BOTH[:1]))
    row = await hire(desk, role_id=role_id if change == "granted" else None)
    admin, path = desk.admin, f"/users/{row.id}"
    invitation = {"firstName": "Bo", "lastName": "Diaz", "email": unique_email(), "roleId": str(role_id)}
    async with desk.database.session(desk.id) as db:
        # With this, each has done everything but commit.
        await db.scalar(select(Counter.last_event).where(Counter.org_id == desk.id).with_for_update(key_share=True))
        match change:
            case "given":
                first = asyncio.create_task(admin.put(f"{path}/role", {"roleId": str(role_id)}))
            case "granted":
                first = asyncio.create_task(admin.put(f"{path}/permissions", lists(granted=BOTH[1:])))
            case _:
                first = asyncio.create_task(admin.post("/users", invitation))
        await wait_until_waiting(desk.database, 1)
        second = asyncio.create_task(admin.patch(f"/roles/{role_id}", {"permissions": table("stores:view")}))
        await wait_until_waiting(desk.database, 2)
    assert [(await task).is_success for task in (first, second)] == [True, True]
    assert await wrongly_noted(desk) == []
    assert [one for one in await all_of(desk, role_id) if one.works_on_tickets] == []


async def all_of(desk: Desk, role_id: UUID) -> list[UserRow]:
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(UserRow).where(UserRow.org_id == desk.id, UserRow.role_id == role_id)))


async def test_whatever_happens_at_once_it_is_right_afterwards_and_nobody_waits_for_ever(desk: Desk) -> None:
    role_ids = [await a_role(desk, *BOTH), await a_role(desk, BOTH[0])]
    crew = [await hire(desk, role_id=role_id) for role_id in role_ids * 2]
    admin = desk.admin
    for turn in range(4):
        more, less = table(*BOTH, "stores:view"), table(BOTH[turn % 2])
        answers = await asyncio.gather(
            *(admin.patch(f"/roles/{one}", {"permissions": (more, less)[turn % 2]}) for one in role_ids),
            *(
                admin.put(f"/users/{row.id}/role", {"roleId": str(role_ids[(turn + place) % 2])})
                for place, row in enumerate(crew)
            ),
            *(admin.put(f"/users/{row.id}/permissions", lists(denied=BOTH[: turn % 3])) for row in crew),
            *(admin.patch(f"/users/{row.id}", {"available": turn % 2 == 0}) for row in crew),
        )
        assert {answer.status_code for answer in answers} == {200}
        assert await wrongly_noted(desk) == []

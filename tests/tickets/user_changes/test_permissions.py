"""Users who lack the permission to see or to change tickets are assigned none, and lose those that they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from app.accounts.roles.rules import ENGINEER
from app.accounts.users.models import User as UserRow
from app.core.database.pool import Database
from app.notifications.models import Mail
from tests.accounts.users_and_roles import ok
from tests.conftest import settings_for
from tests.organisation_client import JSON, Desk, SignedInUser
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields
from tests.tickets.rows import (
    assert_events_are_numbered_without_gaps,
    count_by_assignee,
    list_waiting,
    read_ticket_timers,
    run_due_timers,
    skip_earlier_work,
)
from tests.tickets.users import add_customer, add_engineer

VIEW_AND_UPDATE: JSON = {"resource": "tickets", "view": True, "update": True}
VIEW: JSON = {"resource": "tickets", "view": True}
UPDATE: JSON = {"resource": "tickets", "update": True}
VIEW_STORES: JSON = {"resource": "stores", "view": True}


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


@pytest.fixture
async def bo(desk: Desk) -> SignedInUser:
    """An available engineer."""
    return await add_engineer(desk)


async def create_role(desk: Desk, *table: JSON, role: str = "ENGINEER") -> str:
    body = {"name": f"Role {uuid4().hex}", "role": role, "permissions": list(table)}
    answer = await desk.admin.post("/roles", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def change_role(desk: Desk, role_id: str, *table: JSON) -> None:
    ok(await desk.admin.patch(f"/roles/{role_id}", {"permissions": list(table)}))


async def assign_role(desk: Desk, user: SignedInUser, role_id: object) -> None:
    ok(await desk.admin.put(f"/users/{user.id}/role", {"roleId": str(role_id)}))


async def deny(desk: Desk, user: SignedInUser, *table: JSON) -> None:
    await set_overrides(desk, user, denied=list(table))


async def set_overrides(desk: Desk, user: SignedInUser, **lists: list[JSON]) -> None:
    ok(await desk.admin.put(f"/users/{user.id}/permissions", {"granted": [], "denied": []} | lists))


class ReplaceRole:
    """Take permissions away by assigning another role; restore them with the former role."""

    def __init__(self, *table: JSON) -> None:
        self.table = table

    async def revoke(self, desk: Desk, user: SignedInUser) -> None:
        await assign_role(desk, user, await create_role(desk, *self.table))

    async def restore(self, desk: Desk, user: SignedInUser) -> None:
        await assign_role(desk, user, ENGINEER.id)


class DenyPermissions:
    """Take permissions away by denying them; restore them by denying none."""

    def __init__(self, *table: JSON) -> None:
        self.table = table

    async def revoke(self, desk: Desk, user: SignedInUser) -> None:
        await deny(desk, user, *self.table)

    async def restore(self, desk: Desk, user: SignedInUser) -> None:
        await deny(desk, user)


class WithdrawGrant:
    """Take a permission away by withdrawing its grant; restore it by granting it on top of a role that lacks it."""

    async def revoke(self, desk: Desk, user: SignedInUser) -> None:
        await self.restore(desk, user)
        await set_overrides(desk, user, granted=[])

    async def restore(self, desk: Desk, user: SignedInUser) -> None:
        await set_overrides(desk, user, granted=[UPDATE])
        await assign_role(desk, user, await create_role(desk, VIEW))


class EditRole:
    """Take permissions away by removing them from the user's role; restore them by adding them again."""

    def __init__(self, *table: JSON) -> None:
        self.table = table

    async def revoke(self, desk: Desk, user: SignedInUser) -> None:
        await assign_role(desk, user, await create_role(desk, VIEW_AND_UPDATE))
        await change_role(desk, await self.role_of(desk, user), *self.table)

    async def restore(self, desk: Desk, user: SignedInUser) -> None:
        await change_role(desk, await self.role_of(desk, user), VIEW_AND_UPDATE, VIEW_STORES)

    async def role_of(self, desk: Desk, user: SignedInUser) -> str:
        return str(ok(await desk.admin.get(f"/users/{user.id}"))["roleId"])


def list_losses() -> Iterator[Any]:
    for table in ((VIEW_STORES,), (VIEW,), (UPDATE,), ()):
        # Such as `ticketsvu` for viewing and updating tickets.
        name = " ".join(one["resource"] + "".join(k[0] for k in one if k != "resource") for one in table) or "nothing"
        yield pytest.param(ReplaceRole(*table), id=f"a role with {name}")
        yield pytest.param(EditRole(*table), id=f"their role changed to {name}")
    for table in ((VIEW,), (UPDATE,), (VIEW_AND_UPDATE,)):
        yield pytest.param(DenyPermissions(*table), id=f"denied {'+'.join(k for k in table[0] if k != 'resource')}")
    yield pytest.param(WithdrawGrant(), id="a grant taken back")


each_way_of_losing_permissions = pytest.mark.parametrize("change", list(list_losses()))


# --- new tickets ------------------------------------------------------------------------------------------------------


@each_way_of_losing_permissions
async def test_users_who_may_not_see_and_change_tickets_are_assigned_none(
    desk: Desk, bo: SignedInUser, change: Any
) -> None:
    assert (await desk.open())["assigneeId"] == str(bo.id)
    await change.revoke(desk, bo)
    assert {(await desk.open())["assigneeId"] for _ in range(3)} == {str(desk.admin.id)}
    await change.restore(desk, bo)
    assert {(await desk.open())["assigneeId"] for _ in range(3)} == {str(bo.id)}


async def test_a_user_who_may_not_see_tickets_gets_no_mail_about_them(
    desk: Desk, bo: SignedInUser, server: TestServer, tmp_path: Any
) -> None:
    await assign_role(desk, bo, await create_role(desk, VIEW_STORES))
    ticket = await desk.open(description="My card number is 4242.")
    await desk.work(settings_for(server, data_dir=tmp_path))

    assert_problem(await bo.get(f"/tickets/{ticket['id']}"), 403, "permission_required")
    async with desk.database.session(desk.id) as db:
        to = set(await db.scalars(select(Mail.recipient).where(Mail.org_id == desk.id)))
    assert to == {desk.admin.email}


async def test_an_admin_who_may_not_work_on_tickets_is_assigned_none(desk: Desk) -> None:
    cy = await desk.another_admin()
    await assign_role(desk, cy, await create_role(desk, VIEW_STORES, role="ADMIN"))
    assert {(await desk.open())["assigneeId"] for _ in range(3)} == {str(desk.admin.id)}


async def test_a_custom_role_with_both_permissions_suffices(desk: Desk, bo: SignedInUser) -> None:
    await assign_role(desk, bo, await create_role(desk, VIEW_AND_UPDATE))
    assert (await desk.open())["assigneeId"] == str(bo.id)


async def test_tickets_wait_if_no_user_may_work_on_them(desk: Desk, database: Database, bo: SignedInUser) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    await deny(desk, bo, VIEW)
    assert (await desk.open())["assigneeId"] is None
    await run_due_timers(database)
    assert await list_waiting(desk) == [1]


@pytest.mark.parametrize("table", [(), (VIEW_STORES,), (VIEW,), (UPDATE,)])
async def test_an_invited_user_who_may_not_work_on_tickets_is_assigned_none(
    desk: Desk, database: Database, table: tuple[JSON, ...]
) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    role_id = await create_role(desk, *table)
    body = {"firstName": "Bo", "lastName": "Diaz", "email": f"b{uuid4().hex}@growfin.test", "roleId": role_id}
    answer = await desk.admin.post("/users", body)
    assert answer.status_code == 201, answer.text
    user_id = UUID(answer.json()["id"])
    async with database.session(desk.id) as db:
        conditions = (UserRow.org_id == desk.id, UserRow.id == user_id)
        await db.execute(update(UserRow).where(*conditions).values(status="ACTIVE", available=True))
    assert (await desk.open())["assigneeId"] is None

    await change_role(desk, role_id, VIEW_AND_UPDATE)

    assert await count_by_assignee(desk) == {user_id: 1}


# --- assigned tickets -------------------------------------------------------------------------------------------------


@each_way_of_losing_permissions
async def test_unfinished_tickets_are_reassigned_to_others(
    desk: Desk, database: Database, bo: SignedInUser, change: Any
) -> None:
    open_, responded, closed = [await desk.open() for _ in range(3)]
    await bo.post(f"/tickets/{open_['id']}/accept")
    for ticket, status in ((responded, "RESPONDED"), (closed, "CLOSED")):
        ok(await bo.post(f"/tickets/{ticket['id']}/change_status", {"status": status}))

    await change.revoke(desk, bo)
    await run_due_timers(database)

    for ticket in (open_, responded):
        read = await desk.read(ticket)
        assert (read["assigneeId"], read["acceptedAt"]) == (str(desk.admin.id), None)
        event = (await desk.history(ticket))[-2]
        assert (event["type"], event["actor"]) == ("ticket.assigned", {"type": "SYSTEM"})
        assert event["data"] == {"assigneeId": None, "previousAssigneeId": str(bo.id)}
    assert (await desk.read(closed))["assigneeId"] == str(bo.id)
    assert await count_by_assignee(desk) == {desk.admin.id: 2, bo.id: 1}
    await assert_events_are_numbered_without_gaps(desk)


@each_way_of_losing_permissions
async def test_a_user_who_may_work_on_tickets_again_gets_the_waiting_ones(
    desk: Desk, database: Database, bo: SignedInUser, change: Any
) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    await desk.open()
    await change.revoke(desk, bo)
    await run_due_timers(database)
    await desk.open()
    assert await list_waiting(desk) == [1, 2]

    await change.restore(desk, bo)

    assert await count_by_assignee(desk) == {bo.id: 2}


@each_way_of_losing_permissions
async def test_an_unavailable_user_who_may_work_on_tickets_again_gets_none(desk: Desk, change: Any) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    bo = await add_engineer(desk, available=False)
    await change.revoke(desk, bo)
    await desk.open()
    await change.restore(desk, bo)
    assert await list_waiting(desk) == [1]


async def test_becoming_available_assigns_no_tickets_to_a_user_who_may_not_work_on_them(desk: Desk) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    bo = await add_engineer(desk, available=False)
    await deny(desk, bo, UPDATE)
    await desk.open()
    assert ok(await bo.patch("/me", {"available": True}))["available"] is True
    assert await list_waiting(desk) == [1]
    await deny(desk, bo)
    assert await count_by_assignee(desk) == {bo.id: 1}


@pytest.mark.parametrize("change", [{"denied": [VIEW_STORES]}, {"granted": [VIEW_STORES], "denied": []}])
async def test_other_permissions_do_not_unassign_tickets(desk: Desk, bo: SignedInUser, change: JSON) -> None:
    role_id = await create_role(desk, VIEW_AND_UPDATE, VIEW_STORES)
    await assign_role(desk, bo, role_id)
    ticket = (await bo.post(f"/tickets/{(await desk.open())['id']}/accept")).json()

    await set_overrides(desk, bo, **change)
    await change_role(desk, role_id, {**VIEW_AND_UPDATE, "delete": True})

    assert await desk.read(ticket) == ticket | {"comments": []}
    assert await read_ticket_timers(desk, {"id": str(bo.id)}) == {}


# --- assigning by an admin --------------------------------------------------------------------------------------------


@each_way_of_losing_permissions
async def test_users_who_may_not_work_on_tickets_cannot_be_made_the_assignee(
    desk: Desk, bo: SignedInUser, change: Any
) -> None:
    await change.revoke(desk, bo)
    ticket = await desk.open()
    answer = await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(bo.id)})
    assert read_invalid_fields(answer, "assignee_not_active") == {"assigneeId"}
    assert "see and change" in answer.json()["errors"][0]["message"]
    await change.restore(desk, bo)
    assert ok(await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(bo.id)}))["assigneeId"] == str(
        bo.id
    )


async def test_a_user_who_may_not_see_tickets_cannot_accept_them(desk: Desk, bo: SignedInUser) -> None:
    await deny(desk, bo, VIEW)
    ticket = await desk.open()
    assert_problem(await bo.post(f"/tickets/{ticket['id']}/accept"), 403, "permission_required")
    assert await desk.read(ticket) == ticket | {"comments": []}


async def test_a_customer_with_all_permissions_is_assigned_none(desk: Desk) -> None:
    mia = await add_customer(desk)
    await set_overrides(desk, mia, granted=[VIEW_AND_UPDATE])
    ticket = await desk.open()
    assert_problem(
        await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(mia.id)}), 422, "assignee_not_active"
    )

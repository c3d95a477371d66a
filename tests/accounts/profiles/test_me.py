"""Somebody's own profile."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from app.access.permissions import Resource, RoleKind
from app.accounts.roles.rules import BUILT_IN
from app.accounts.users.models import User as UserRow
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import refused, wrong_fields


async def profile(desk: Desk) -> dict[str, Any]:
    answer = await desk.admin.get("/me")
    assert answer.status_code == 200, answer.text
    read: dict[str, Any] = answer.json()
    return read


async def events_of(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    """What happened since the admin was made."""
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [
        (row.type, {"userId": str(row.subject_id), **row.data}) for row in rows if not row.type.endswith("signed_up")
    ]


async def test_it_is_who_has_signed_in(desk: Desk) -> None:
    read = await profile(desk)
    assert read.pop("createdAt").endswith("Z")
    permissions = read.pop("permissions")
    assert read == {
        "id": str(desk.admin.id), "orgId": str(desk.id), "firstName": "Ada", "lastName": "Lovelace",
        "email": "ada@growfin.test", "role": "ADMIN", "roleId": str(BUILT_IN[RoleKind.ADMIN].id),
        "designation": "Admin",
        "status": "ACTIVE", "available": True, "emailVerified": False, "secondFactor": False, "bio": None,
        "timezone": None, "locale": None, "pictureUrl": None,
        "notifications": {
            "ticketAssigned": True, "ticketAnswered": True, "ticketClosingSoon": True, "signUpRequests": True,
        },
    }  # fmt: skip
    assert [row.pop("resource") for row in permissions] == list(Resource)
    assert all(row == {"view": True, "create": True, "update": True, "delete": True} for row in permissions)


async def test_names_can_be_changed(desk: Desk) -> None:
    answer = await desk.admin.patch("/me", {"firstName": " Augusta ", "lastName": "King"})
    assert answer.status_code == 200
    assert (answer.json()["firstName"], answer.json()["lastName"]) == ("Augusta", "King")
    assert await profile(desk) == answer.json()
    # What the names were and are is personal, so the history does not hold it.
    expected = {"userId": str(desk.admin.id), "fields": ["firstName", "lastName"]}
    assert await events_of(desk) == [("user.updated", expected)]


async def test_others_see_the_new_name_at_once(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # of which users are remembered for some seconds
    ticket = await desk.open()
    await desk.admin.patch("/me", {"firstName": "Augusta"})
    assert (await desk.respond(ticket))["author"]["firstName"] == "Augusta"


async def test_who_is_not_available_gets_no_new_tickets_until_they_are_again(desk: Desk) -> None:
    assert (await desk.admin.patch("/me", {"available": False})).json()["available"] is False
    tickets = [await desk.open() for _ in range(2)]
    assert {ticket["adminId"] for ticket in tickets} == {None}

    assert (await desk.admin.patch("/me", {"available": True})).json()["available"] is True
    assert {(await desk.read(ticket))["adminId"] for ticket in tickets} == {str(desk.admin.id)}
    kinds = [kind for kind, _ in await events_of(desk) if kind.startswith("user.")]
    assert kinds == ["user.became_unavailable", "user.became_available"]


@pytest.mark.parametrize("same", [{}, {"firstName": "Ada", "lastName": "Lovelace", "available": True}])
async def test_the_same_values_again_change_nothing(desk: Desk, same: dict[str, object]) -> None:
    before = await profile(desk)
    assert (await desk.admin.patch("/me", same)).status_code == 200
    assert await profile(desk) == before
    assert await events_of(desk) == []


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"firstName": ""}, "firstName"),
        ({"firstName": None}, "firstName"),
        ({"lastName": "a\0b"}, "lastName"),
        ({"lastName": "x" * 101}, "lastName"),
        ({"available": "yes"}, "available"),
        ({"available": 1}, "available"),
        ({"available": None}, "available"),
        ({"email": "other@growfin.test"}, "email"),
        ({"role": "ADMIN"}, "role"),
        ({"roleId": "00000000-0000-7000-8000-000000000001"}, "roleId"),
        ({"permissions": []}, "permissions"),
        ({"granted": ["users:delete"]}, "granted"),
        ({"denied": []}, "denied"),
        ({"status": "ACTIVE"}, "status"),
        ({"secondFactor": False}, "secondFactor"),
        ({"emailVerified": True}, "emailVerified"),
        ({"pictureUrl": "https://example.com/me.png"}, "pictureUrl"),
        ({"muted": []}, "muted"),
        ({"createdAt": "2026-03-02T09:30:00Z"}, "createdAt"),
        ({"orgId": "0190b8e5-0000-7000-8000-000000000001"}, "orgId"),
        ({"id": "0190b8e5-0000-7000-8000-000000000001"}, "id"),
        ({"password": "another-heron-48-lamp"}, "password"),
        ({"first_name": "Eve"}, "first_name"),
        ({"firstName": "Eve", "nonsense": 1}, "nonsense"),
    ],
)
async def test_a_wrong_field_is_named_and_changes_nothing(desk: Desk, change: dict[str, object], wrong: str) -> None:
    before = await profile(desk)
    assert wrong_fields(await desk.admin.patch("/me", change)) == {wrong}
    assert await profile(desk) == before
    assert await events_of(desk) == []


async def test_only_somebody_signed_in_has_one(api: Api, desk: Desk) -> None:
    secret = {"X-Org-Secret": desk.secret}
    for headers, status, code in (({}, 401, "missing_credential"), (secret, 403, "access_token_required")):
        refused(await api.http.get("/me", headers=headers), status, code)
        refused(await api.http.patch("/me", json={"firstName": "Eve"}, headers=headers), status, code)
    assert (await profile(desk))["firstName"] == "Ada"


async def test_nobody_sees_or_changes_anothers(api: Api, database: Database, desk: Desk) -> None:
    other, colleague = await create_desk(api, database), await desk.another_admin()
    before = await profile(desk)
    for user in (other.admin, colleague):
        assert (await user.patch("/me", {"firstName": "Eve", "available": False})).json()["id"] == str(user.id)
    assert await profile(desk) == before


async def test_who_has_just_been_suspended_changes_nothing(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    assert (await desk.admin.get("/me")).status_code == 200  # from here on they are remembered for some seconds
    async with database.session(desk.id) as db:
        await db.execute(
            update(UserRow).where(UserRow.org_id == desk.id, UserRow.id == desk.admin.id).values(status="SUSPENDED")
        )
    refused(await desk.admin.patch("/me", {"firstName": "Eve"}), 401, "invalid_token")

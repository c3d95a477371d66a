"""Read and change the caller's own profile."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from app.access.user_permissions import Resource, RoleKind
from app.accounts.roles.rules import BUILT_IN
from app.accounts.users.models import User as UserRow
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields


async def read_profile(desk: Desk) -> dict[str, Any]:
    answer = await desk.admin.get("/me")
    assert answer.status_code == 200, answer.text
    read: dict[str, Any] = answer.json()
    return read


async def events_of(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    """List the events since the admin signed up."""
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [
        (row.type, {"userId": str(row.subject_id), **row.data}) for row in rows if not row.type.endswith("signed_up")
    ]


async def test_the_profile_is_that_of_the_signed_in_user(desk: Desk) -> None:
    read = await read_profile(desk)
    assert read.pop("createdAt").endswith("Z")
    permissions = read.pop("permissions")
    assert read == {
        "id": str(desk.admin.id), "orgId": str(desk.id), "firstName": "Ada", "lastName": "Lovelace",
        "email": "ada@growfin.test", "role": "ADMIN", "roleId": str(BUILT_IN[RoleKind.ADMIN].id),
        "designation": "Admin",
        "status": "ACTIVE", "available": True, "emailVerified": False, "secondFactor": False, "bio": None,
        "timezone": None, "locale": None, "pictureUrl": None,
        "notifications": {
            "ticketAssigned": True, "ticketResponded": True, "ticketClosingSoon": True, "signUpRequests": True,
        },
    }  # fmt: skip
    assert [row.pop("resource") for row in permissions] == list(Resource)
    assert all(row == {"view": True, "create": True, "update": True, "delete": True} for row in permissions)


async def test_names_can_be_changed(desk: Desk) -> None:
    answer = await desk.admin.patch("/me", {"firstName": " Augusta ", "lastName": "King"})
    assert answer.status_code == 200
    assert (answer.json()["firstName"], answer.json()["lastName"]) == ("Augusta", "King")
    assert await read_profile(desk) == answer.json()
    # Names are personal data, so the history does not contain them.
    expected = {"userId": str(desk.admin.id), "fields": ["firstName", "lastName"]}
    assert await events_of(desk) == [("user.updated", expected)]


async def test_a_changed_name_is_visible_immediately(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    ticket = await desk.open()
    await desk.admin.patch("/me", {"firstName": "Augusta"})
    assert (await desk.respond(ticket))["author"]["firstName"] == "Augusta"


async def test_tickets_wait_until_the_user_is_available_again(desk: Desk) -> None:
    assert (await desk.admin.patch("/me", {"available": False})).json()["available"] is False
    tickets = [await desk.open() for _ in range(2)]
    assert {ticket["adminId"] for ticket in tickets} == {None}

    assert (await desk.admin.patch("/me", {"available": True})).json()["available"] is True
    assert {(await desk.read(ticket))["adminId"] for ticket in tickets} == {str(desk.admin.id)}
    kinds = [kind for kind, _ in await events_of(desk) if kind.startswith("user.")]
    assert kinds == ["user.became_unavailable", "user.became_available"]


@pytest.mark.parametrize("values", [{}, {"firstName": "Ada", "lastName": "Lovelace", "available": True}])
async def test_values_that_are_already_set_change_nothing(desk: Desk, values: dict[str, object]) -> None:
    before = await read_profile(desk)
    assert (await desk.admin.patch("/me", values)).status_code == 200
    assert await read_profile(desk) == before
    assert await events_of(desk) == []


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"firstName": ""}, "firstName"),
        ({"firstName": None}, "firstName"),
        ({"firstName": "Win at https://evil.example"}, "firstName"),
        ({"lastName": "hxxp\uff1a\uff0f\uff0fevil"}, "lastName"),
        ({"lastName": "a\0b"}, "lastName"),
        ({"lastName": "x" * 101}, "lastName"),
        ({"available": "yes"}, "available"),
        ({"available": 1}, "available"),
        ({"available": None}, "available"),
        ({"email": "other@growfin.test"}, "email"),
        ({"role": "CUSTOMER"}, "role"),
        ({"roleId": "00000000-0000-7000-8000-000000000002"}, "roleId"),
        ({"permissions": []}, "permissions"),
        ({"granted": ["users:delete"]}, "granted"),
        ({"denied": []}, "denied"),
        ({"status": "PENDING"}, "status"),
        ({"secondFactor": True}, "secondFactor"),
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
async def test_an_invalid_field_is_reported_and_nothing_changes(
    desk: Desk, change: dict[str, object], wrong: str
) -> None:
    before = await read_profile(desk)
    assert read_invalid_fields(await desk.admin.patch("/me", change)) == {wrong}
    assert await read_profile(desk) == before
    assert await events_of(desk) == []


async def test_what_get_gives_can_be_sent_back_with_a_change(desk: Desk) -> None:
    before = await read_profile(desk)
    answer = await desk.admin.patch("/me", before | {"lastName": "", "bio": "I have one name."})
    assert answer.json() == before | {"lastName": "", "bio": "I have one name."}


async def test_all_fields_that_cannot_be_changed_are_reported_at_once(desk: Desk) -> None:
    change = {"firstName": "Eve", "email": "other@growfin.test", "role": "CUSTOMER"}
    assert read_invalid_fields(await desk.admin.patch("/me", change)) == {"email", "role"}
    assert (await read_profile(desk))["firstName"] == "Ada"


async def test_only_signed_in_users_have_a_profile(api: Api, desk: Desk) -> None:
    secret = {"X-Org-Secret": desk.secret}
    for headers, status, code in (({}, 401, "missing_credential"), (secret, 403, "access_token_required")):
        assert_problem(await api.http.get("/me", headers=headers), status, code)
        assert_problem(await api.http.patch("/me", json={"firstName": "Eve"}, headers=headers), status, code)
    assert (await read_profile(desk))["firstName"] == "Ada"


async def test_a_user_reads_and_changes_only_their_own_profile(api: Api, database: Database, desk: Desk) -> None:
    other, colleague = await create_desk(api, database), await desk.another_admin()
    before = await read_profile(desk)
    for user in (other.admin, colleague):
        assert (await user.patch("/me", {"firstName": "Eve", "available": False})).json()["id"] == str(user.id)
    assert await read_profile(desk) == before


async def test_a_suspended_user_who_is_still_cached_cannot_change_their_profile(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    assert (await desk.admin.get("/me")).status_code == 200  # the user is cached from here on
    async with database.session(desk.id) as db:
        await db.execute(
            update(UserRow).where(UserRow.org_id == desk.id, UserRow.id == desk.admin.id).values(status="SUSPENDED")
        )
    assert_problem(await desk.admin.patch("/me", {"firstName": "Eve"}), 401, "invalid_token")

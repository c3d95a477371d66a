"""List, search and read the users of an organisation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.accounts.roles import rules as roles
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.fields import to_rfc3339
from tests.accounts.users_and_roles import (
    ADMIN,
    CUSTOMER,
    ENGINEER,
    add_role,
    add_signed_in_user,
    add_user,
    add_user_with_permissions,
    ok,
    read_row,
)
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import unique_email

UNKNOWN_ID = "0190b8e5-0000-7000-8000-000000000001"


async def list_emails(user: SignedInUser, **filters: Any) -> list[str]:
    """Return the e-mails on a page of users."""
    return [one["email"] for one in ok(await user.get("/users", params=filters))["items"]]


# --- one user -------------------------------------------------------------------------------------------------------


async def test_a_user_is_shown_with_their_profile(desk: Desk) -> None:
    role_id = await add_role(desk, "tickets:view")
    row = await add_user(
        desk, role_id=role_id, bio="Compilers.", timezone="America/New_York", locale="en-US",
        picture_at=datetime(2026, 1, 1, tzinfo=UTC), available=True,
    )  # fmt: skip
    read = ok(await desk.admin.get(f"/users/{row.id}"))
    assert read.pop("createdAt").endswith("Z")
    assert read.pop("designation").startswith("Role ")
    assert read == {
        "id": str(row.id), "orgId": str(desk.id), "firstName": "Grace", "lastName": "Hopper", "email": row.email,
        "role": "ENGINEER", "roleId": str(role_id), "status": "ACTIVE", "available": True, "emailVerified": False,
        "secondFactor": False, "bio": "Compilers.", "timezone": "America/New_York", "locale": "en-US",
        "statusReason": None, "pictureUrl": f"/users/{row.id}/picture", "invitationExpiresAt": None,
    }  # fmt: skip


async def test_an_invited_user_is_shown_with_the_expiry_of_the_invitation(desk: Desk) -> None:
    body = {"firstName": "Bo", "lastName": "Ek", "email": unique_email(), "role": "ENGINEER"}
    invited = (await desk.admin.post("/users", body)).json()
    path = f"/users/{invited['id']}"
    assert ok(await desk.admin.get(path))["invitationExpiresAt"] == invited["invitationExpiresAt"]

    # Issue three links: one that expires later, one for another purpose, and one of another user.
    async with desk.database.session(desk.id) as db:
        user, now = (desk.id, UUID(invited["id"]), body["email"]), real_now()
        links.issue(db, *user, LinkPurpose.INVITATION).expires_at = now + timedelta(days=8, microseconds=5)
        links.issue(db, *user, LinkPurpose.VERIFY_EMAIL).expires_at = now + timedelta(days=9)
        links.issue(db, desk.id, desk.admin.id, desk.admin.email, LinkPurpose.INVITATION).expires_at = now + timedelta(
            days=9
        )
    read = ok(await desk.admin.patch(path, {}))["invitationExpiresAt"]
    assert (
        read
        == ok(await desk.admin.get(path))["invitationExpiresAt"]
        == to_rfc3339(now + timedelta(days=8, microseconds=5))
    )
    assert ok(await desk.admin.get(f"/users/{desk.admin.id}"))["invitationExpiresAt"] is None

    async with desk.database.session(desk.id) as db:
        await db.execute(update(Link).where(Link.org_id == desk.id).values(expires_at=now))
    assert ok(await desk.admin.get(path))["invitationExpiresAt"] is None


async def test_a_list_contains_the_paths_of_pictures(desk: Desk) -> None:
    row = await add_user(desk, picture_at=datetime(2026, 1, 1, tzinfo=UTC))
    listed = {one["id"]: one["pictureUrl"] for one in ok(await desk.admin.get("/users"))["items"]}
    assert listed == {str(row.id): f"/users/{row.id}/picture", str(desk.admin.id): None}


async def test_profile_fields_that_are_not_set_are_null(desk: Desk) -> None:
    row = await add_user(desk, CUSTOMER)
    read = ok(await desk.admin.get(f"/users/{row.id}"))
    assert read["roleId"] == str(roles.CUSTOMER.id)
    assert [read[name] for name in ("bio", "timezone", "locale", "statusReason", "pictureUrl")] == [None] * 5


async def test_users_with_more_permissions_than_the_caller_can_be_read(desk: Desk) -> None:
    viewer = await add_user_with_permissions(desk, "users:view")
    assert ok(await viewer.get(f"/users/{desk.admin.id}"))["email"] == desk.admin.email
    assert desk.admin.email in await list_emails(viewer)


# --- access ----------------------------------------------------------------------------------------------------------

OPERATIONS: list[tuple[str, str, object]] = [
    ("GET", "", None),
    ("PATCH", "", {"available": False}),
    ("DELETE", "", None),
    ("POST", "/approve", None),
    ("POST", "/reject", None),
    ("PUT", "/role", {"roleId": str(roles.CUSTOMER.id)}),
    ("GET", "/permissions", None),
    ("PUT", "/permissions", {"granted": [], "denied": []}),
]
each_operation = pytest.mark.parametrize(
    ("method", "path", "body"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS]
)


@each_operation
async def test_users_of_another_organisation_are_not_found(
    database: Database, desk: Desk, method: str, path: str, body: object
) -> None:
    stranger = (await create_desk(desk.api, database)).admin
    row = await add_user(desk, status="PENDING")
    before = ok(await desk.admin.get(f"/users/{row.id}"))
    for user_id in (row.id, UNKNOWN_ID):
        answer = await stranger.http.request(method, f"/users/{user_id}{path}", json=body, headers=stranger.headers)
        assert_problem(answer, 404, "user_not_found")
    assert ok(await desk.admin.get(f"/users/{row.id}")) == before


@each_operation
async def test_each_operation_requires_its_permission(
    api: Api, desk: Desk, method: str, path: str, body: object
) -> None:
    url = f"/users/{(await add_user(desk, CUSTOMER, status='PENDING')).id}{path}"
    customer = await add_signed_in_user(desk, CUSTOMER, granted=["users:view", "users:update", "users:delete"])
    unprivileged = await add_user_with_permissions(desk, "tickets:view")
    for headers, status, code in (
        ({}, 401, "missing_credential"),
        ({"X-Org-Secret": desk.secret}, 403, "access_token_required"),
        (customer.headers, 403, "not_for_customers"),
        (unprivileged.headers, 403, "permission_required"),
    ):
        assert_problem(await api.http.request(method, url, json=body, headers=headers), status, code)


async def test_an_engineer_can_read_users_but_not_change_them(desk: Desk) -> None:
    engineer, customer = await add_signed_in_user(desk), await add_user(desk, CUSTOMER)
    ok(await engineer.get(f"/users/{customer.id}"))
    ok(await engineer.get(f"/users/{customer.id}/permissions"))
    assert customer.email in await list_emails(engineer)
    assert_problem(await engineer.patch(f"/users/{customer.id}", {"status": "SUSPENDED"}), 403, "permission_required")
    assert_problem(await engineer.delete(f"/users/{customer.id}"), 403, "permission_required")


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_users_are_listed_newest_first_over_several_pages(desk: Desk) -> None:
    emails = [desk.admin.email, *[(await add_user(desk)).email for _ in range(4)]][::-1]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2, "include": "total"}
    while True:
        page = ok(await desk.admin.get("/users", params=query))
        assert page["total"] == 5
        found += [one["email"] for one in page["items"]]
        if not page["nextCursor"]:
            break
        query["cursor"] = page["nextCursor"]
    assert found == emails
    assert "total" not in ok(await desk.admin.get("/users"))


async def test_a_cursor_is_only_valid_for_its_filters_and_organisation(
    api: Api, database: Database, desk: Desk
) -> None:
    await add_user(desk)
    cursor = ok(await desk.admin.get("/users", params={"limit": 1}))["nextCursor"]
    for user, filters in ((desk.admin, {"role": "ADMIN"}), ((await create_desk(api, database)).admin, {})):
        answer = await user.get("/users", params={"cursor": cursor, **filters})
        assert read_invalid_fields(answer, "invalid_cursor") == {"cursor"}


async def test_users_are_filtered_by_role_status_and_availability(desk: Desk) -> None:
    customer = await add_user(desk, CUSTOMER)
    pending = await add_user(desk, status="PENDING", available=True)
    suspended = await add_user(desk, status="SUSPENDED", available=True)
    other = await add_user(desk, ADMIN, status="PENDING")
    admin = desk.admin
    expectations: tuple[tuple[dict[str, Any], list[Any]], ...] = (
        ({"role": "CUSTOMER"}, [customer]),
        ({"role": "ENGINEER"}, [suspended, pending]),
        ({"role": ["ENGINEER", "CUSTOMER"]}, [suspended, pending, customer]),
        ({"status": "PENDING"}, [other, pending]),
        ({"status": "PENDING", "role": "ENGINEER"}, [pending]),
        ({"status": ["PENDING", "SUSPENDED"]}, [other, suspended, pending]),
        # The filter means that new tickets can be assigned to the user now, not only that the user wants them.
        ({"available": "true"}, [admin]),
        ({"available": "true", "role": "ADMIN"}, [admin]),
        ({"available": "false"}, [other, suspended, pending, customer]),
        ({"available": "false", "role": "ADMIN"}, [other]),
        ({"status": "INVITED"}, []),
    )
    for filters, expected in expectations:
        assert await list_emails(admin, **filters) == [one.email for one in expected], filters


async def test_users_of_another_organisation_are_not_listed(api: Api, database: Database, desk: Desk) -> None:
    await add_user(await create_desk(api, database), first_name="Zora")
    assert await list_emails(desk.admin) == [desk.admin.email]
    assert await list_emails(desk.admin, q="zora") == []


@pytest.mark.parametrize(
    ("filters", "invalid_field"),
    [
        ({"status": "ERASED"}, "status.0"),
        ({"status": "active"}, "status.0"),
        ({"role": "OWNER"}, "role.0"),
        ({"q": ""}, "q"),
        ({"q": "   "}, "q"),
        ({"q": "x" * 501}, "q"),
        ({"q": "a\0b"}, "q"),
        ({"available": "maybe"}, "available"),
        ({"limit": "0"}, "limit"),
        ({"email": "ada@growfin.test"}, "email"),
    ],
)
async def test_an_invalid_filter_is_reported(desk: Desk, filters: dict[str, str], invalid_field: str) -> None:
    assert read_invalid_fields(await desk.admin.get("/users", params=filters)) == {invalid_field}


# --- search -----------------------------------------------------------------------------------------------------------


async def test_users_are_found_by_word_prefixes(desk: Desk) -> None:
    angstrom = await add_user(desk, first_name="Anders Jonas", last_name="Ångström", email="aj@uppsala.test")
    hopper = await add_user(desk, first_name="Grace", last_name="Hopper-Murray", email="grace.hopper@navy.test")
    expectations: tuple[tuple[str, list[Any]], ...] = (
        ("angstrom", [angstrom]),
        ("ÅNGS", [angstrom]),
        ("jon and", [angstrom]),
        ("  and   ång ", [angstrom]),
        ("gra", [hopper]),
        ("hopper-m", [hopper]),
        ("murray", [hopper]),
        ("navy", [hopper]),
        ("grace.hopper@navy.test", [hopper]),
        ("grace.hopper@n", [hopper]),
        ("race", []),
        ("hopper@navy.test", [hopper]),
        ("hop@navy.test", []),
        ("grace ångström", []),
        ("%", []),
        ("gr_ce", []),
        ("???", []),
        ("a", [angstrom, desk.admin]),
        ("test", [hopper, angstrom, desk.admin]),
    )
    for q, expected in expectations:
        assert await list_emails(desk.admin, q=q) == [one.email for one in expected], q


async def test_a_search_can_be_combined_with_filters_and_pages(desk: Desk) -> None:
    found = [await add_user(desk, CUSTOMER, first_name="Zora") for _ in range(3)]
    await add_user(desk, ENGINEER, first_name="Zora")
    query = {"q": "zor", "role": "CUSTOMER", "limit": 2, "include": "total"}
    first = ok(await desk.admin.get("/users", params=query))
    second = ok(await desk.admin.get("/users", params={**query, "cursor": first["nextCursor"]}))
    emails = [one["email"] for one in first["items"] + second["items"]]
    assert emails == [row.email for row in reversed(found)]
    assert (first["total"], second["nextCursor"]) == (3, None)
    empty = ok(await desk.admin.get("/users", params={"q": "?", "include": "total"}))
    assert (empty["items"], empty["total"]) == ([], 0)
    assert "no letters or digits" in empty["note"]


async def test_a_list_contains_the_names_of_custom_roles(desk: Desk) -> None:
    role_id = await add_role(desk, "users:view")
    row = await add_user(desk, role_id=role_id)
    (first, _) = ok(await desk.admin.get("/users"))["items"]
    assert (first["id"], first["roleId"]) == (str(row.id), str(role_id))
    assert first["designation"] == (await read_row(desk, row.id)).role_name

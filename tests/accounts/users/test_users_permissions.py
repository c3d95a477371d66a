"""Permissions granted and denied to users, and the refusal of privilege escalation."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.user_permissions import ALL, Resource
from app.accounts.roles import rules as roles
from app.accounts.roles.schemas import as_table
from app.core.database.pool import Database
from tests.accounts.users_and_roles import (
    ADMIN,
    CUSTOMER,
    add_role,
    add_signed_in_user,
    add_user,
    add_user_with_permissions,
    list_events,
    ok,
    read_row,
)
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields


def collect_permissions(table: list[JSON]) -> set[str]:
    """Return the permissions in a table, as they are stored."""
    return {f"{row['resource']}:{action}" for row in table for action, allowed in row.items() if allowed is True}


def permission_lists(granted: object = (), denied: object = ()) -> JSON:
    """Return both lists as a request contains them."""
    return {"granted": granted or [], "denied": denied or []}


def permission_row(resource: str, *actions: str) -> JSON:
    return {"resource": resource, **dict.fromkeys(actions, True)}


# --- reading and replacing --------------------------------------------------------------------------------------------


async def test_effective_permissions_are_those_of_the_role_plus_grants_minus_denials(desk: Desk) -> None:
    row = await add_user(desk)
    body = {"granted": [permission_row("keys", "view", "create")], "denied": [permission_row("vendors", "view")]}
    result = ok(await desk.admin.put(f"/users/{row.id}/permissions", body))
    assert result == ok(await desk.admin.get(f"/users/{row.id}/permissions"))
    assert (result["role"], result["roleId"], result["designation"]) == ("ENGINEER", str(roles.ENGINEER.id), "Engineer")
    nothing = {"view": False, "create": False, "update": False, "delete": False}
    assert result["granted"] == [{"resource": "keys", **nothing, "view": True, "create": True}]
    assert result["denied"] == [{"resource": "vendors", **nothing, "view": True}]
    assert [row["resource"] for row in result["fromRole"]] == [resource.value for resource in Resource]
    assert collect_permissions(result["fromRole"]) == roles.ENGINEER.permissions
    assert collect_permissions(result["effective"]) == roles.ENGINEER.permissions - {"vendors:view"} | {
        "keys:view",
        "keys:create",
    }
    expected = {"granted": ["keys:create", "keys:view"], "denied": ["vendors:view"]}
    assert await list_events(desk, row.id) == [("user.permissions_changed", expected)]


async def test_a_custom_role_gives_its_permissions(desk: Desk) -> None:
    role_id = await add_role(desk, "org:view", "tickets:view")
    row = await add_user(desk, role_id=role_id, denied=["org:view"])
    result = ok(await desk.admin.get(f"/users/{row.id}/permissions"))
    assert (result["role"], result["roleId"]) == ("ENGINEER", str(role_id))
    assert result["designation"].startswith("Role ")
    assert collect_permissions(result["fromRole"]) == {"org:view", "tickets:view"}
    assert collect_permissions(result["effective"]) == {"tickets:view"}


async def test_both_lists_are_replaced_and_apply_to_access_tokens_in_use_immediately(
    api: Api, database: Database
) -> None:
    desk = await create_desk(api, database, sandbox=False)
    engineer = await add_signed_in_user(desk)
    path = f"/users/{engineer.id}/permissions"
    assert_problem(await engineer.get("/notifications"), 403, "permission_required")
    ok(
        await desk.admin.put(
            path, {"granted": [permission_row("notifications", "view")], "denied": [permission_row("users", "view")]}
        )
    )
    ok(await engineer.get("/notifications"))
    assert_problem(await engineer.get("/users"), 403, "permission_required")
    result = ok(await desk.admin.put(path, permission_lists()))
    assert (result["granted"], result["denied"]) == ([], [])
    assert_problem(await engineer.get("/notifications"), 403, "permission_required")
    ok(await engineer.get("/users"))


async def test_the_same_lists_again_change_nothing(desk: Desk) -> None:
    row = await add_user(desk)
    body = {"granted": [permission_row("keys", "view", "create")], "denied": [permission_row("vendors", "view")]}
    for _ in range(2):
        ok(await desk.admin.put(f"/users/{row.id}/permissions", body))
    assert len(await list_events(desk, row.id)) == 1


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"granted": [permission_row("keys", "view"), permission_row("keys", "create")]}, "granted"),
        ({"denied": [permission_row("keys"), permission_row("keys")]}, "denied"),
        (
            {"granted": [permission_row("keys", "view", "create")], "denied": [permission_row("keys", "create")]},
            "denied",
        ),
        ({"granted": [permission_row("safes", "view")]}, "granted.0.resource"),
        ({"granted": [permission_row("keys", "open")]}, "granted.0.open"),
        ({"granted": [{"resource": "keys", "view": "yes"}]}, "granted.0.view"),
        ({"granted": [{"view": True}]}, "granted.0.resource"),
        ({"granted": ["keys:view"]}, "granted.0"),
        ({"granted": None}, "granted"),
        ({"denied": {}}, "denied"),
    ],
)
async def test_an_invalid_table_is_refused_and_nothing_changes(desk: Desk, body: JSON, wrong: str) -> None:
    row = await add_user(desk, granted=["org:view"])
    assert read_invalid_fields(await desk.admin.put(f"/users/{row.id}/permissions", permission_lists() | body)) == {
        wrong
    }
    after = await read_row(desk, row.id)
    assert (after.granted, after.denied) == (["org:view"], [])


@pytest.mark.parametrize(
    ("body", "missing"),
    [({}, {"granted", "denied"}), ({"granted": []}, {"denied"}), ({"denied": []}, {"granted"})],
)
async def test_both_lists_are_required(desk: Desk, body: JSON, missing: set[str]) -> None:
    row = await add_user(desk, granted=["org:view"], denied=["vendors:view"])
    assert read_invalid_fields(await desk.admin.put(f"/users/{row.id}/permissions", body)) == missing
    after = await read_row(desk, row.id)
    assert (after.granted, after.denied) == (["org:view"], ["vendors:view"])


# --- privilege escalation --------------------------------------------------------------------------------------------

FEW = ("users:view", "users:update", "users:delete", "tickets:view")


async def add_limited_admin(desk: Desk) -> SignedInUser:
    """Add a user who can administer users and do little else."""
    return await add_user_with_permissions(desk, *FEW)


CHANGES: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"status": "SUSPENDED"}),
    ("PATCH", "", {"role": "CUSTOMER"}),
    ("PATCH", "", {"available": False}),
    ("PATCH", "", {}),
    ("DELETE", "", None),
    ("POST", "/approve", None),
    ("POST", "/reject", {}),
    ("PUT", "/role", {"roleId": str(roles.CUSTOMER.id)}),
    ("PUT", "/permissions", permission_lists(denied=[permission_row("keys", "view")])),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize("status", ["ACTIVE", "PENDING"])
async def test_a_user_with_more_permissions_than_the_caller_cannot_be_changed(
    desk: Desk, status: str, method: str, path: str, body: Any
) -> None:
    limited, row = await add_limited_admin(desk), await add_user(desk, ADMIN, status=status)
    before = ok(await desk.admin.get(f"/users/{row.id}"))
    answer = await limited.http.request(method, f"/users/{row.id}{path}", json=body, headers=limited.headers)
    assert_problem(answer, 403, "privilege_escalation")
    assert ok(await desk.admin.get(f"/users/{row.id}")) == before
    assert await list_events(desk, row.id) == []


async def test_the_only_admin_cannot_be_changed_by_a_caller_with_fewer_permissions(desk: Desk) -> None:
    limited = await add_limited_admin(desk)
    assert_problem(await limited.patch(f"/users/{desk.admin.id}", {"status": "SUSPENDED"}), 403, "privilege_escalation")
    assert_problem(await limited.delete(f"/users/{desk.admin.id}"), 403, "privilege_escalation")


async def test_a_user_with_no_more_permissions_than_the_caller_can_be_changed(desk: Desk) -> None:
    limited, row = await add_limited_admin(desk), await add_user(desk, role_id=await add_role(desk, "tickets:view"))
    ok(await limited.patch(f"/users/{row.id}", {"status": "SUSPENDED", "available": True}))
    ok(await limited.put(f"/users/{row.id}/permissions", permission_lists([permission_row("users", "view")])))
    ok(await limited.put(f"/users/{row.id}/role", {"roleId": str(await add_role(desk, "users:view", "users:update"))}))
    assert (await limited.delete(f"/users/{row.id}")).status_code == 204


async def test_callers_cannot_give_permissions_that_they_lack(desk: Desk) -> None:
    limited, row = await add_limited_admin(desk), await add_user(desk, role_id=await add_role(desk, "tickets:view"))
    wide = await add_role(desk, "tickets:view", "keys:view")
    for method, path, body in (
        ("PATCH", "", {"role": "ADMIN"}),
        ("PATCH", "", {"role": "CUSTOMER"}),  # customers may create tickets
        ("PUT", "/role", {"roleId": str(roles.ENGINEER.id)}),
        ("PUT", "/role", {"roleId": str(wide)}),
        ("PUT", "/permissions", permission_lists([permission_row("keys", "view")])),
        ("PUT", "/permissions", permission_lists([permission_row("users", "view", "create")])),
    ):
        answer = await limited.http.request(method, f"/users/{row.id}{path}", json=body, headers=limited.headers)
        assert_problem(answer, 403, "privilege_escalation")
    after = await read_row(desk, row.id)
    assert after.role_kind == "ENGINEER"
    assert after.permissions == {"tickets:view"}


async def test_a_customers_grants_count_when_the_role_changes(desk: Desk) -> None:
    limited = await add_user_with_permissions(desk, *FEW, *roles.ENGINEER.permissions, *roles.CUSTOMER.permissions)
    row = await add_user(desk, CUSTOMER, granted=["keys:delete"])
    assert_problem(await limited.patch(f"/users/{row.id}", {"role": "ENGINEER"}), 403, "privilege_escalation")
    ok(await desk.admin.put(f"/users/{row.id}/permissions", permission_lists()))
    ok(await limited.patch(f"/users/{row.id}", {"role": "ENGINEER"}))


# --- the caller's own permissions ------------------------------------------------------------------------------------


async def test_users_cannot_promote_themselves(desk: Desk) -> None:
    limited = await add_user_with_permissions(desk, *FEW, role=ADMIN)
    wide = await add_role(desk, *FEW, "keys:view")
    for method, path, body in (
        ("PATCH", "", {"role": "ADMIN"}),
        ("PATCH", "", {"role": "ENGINEER"}),
        ("PUT", "/role", {"roleId": str(roles.ADMIN.id)}),
        ("PUT", "/role", {"roleId": str(wide)}),
        ("PUT", "/permissions", permission_lists([permission_row("keys", "view")])),
    ):
        answer = await limited.http.request(method, f"/users/{limited.id}{path}", json=body, headers=limited.headers)
        assert_problem(answer, 403, "privilege_escalation")
    assert (await read_row(desk, limited.id)).permissions == set(FEW)
    assert await list_events(desk, limited.id) == []


async def test_users_cannot_lift_a_denial_that_applies_to_them(desk: Desk) -> None:
    restricted = await add_signed_in_user(desk, ADMIN, denied=["keys:view"])
    assert_problem(
        await restricted.put(f"/users/{restricted.id}/permissions", permission_lists()), 403, "privilege_escalation"
    )
    other = await add_user(desk, ADMIN, denied=["keys:view"])
    assert_problem(
        await restricted.put(f"/users/{other.id}/permissions", permission_lists()), 403, "privilege_escalation"
    )
    assert (await read_row(desk, restricted.id)).denied == (await read_row(desk, other.id)).denied == ["keys:view"]


async def test_users_cannot_grant_themselves_what_their_role_allows(desk: Desk) -> None:
    other = await desk.another_admin()
    body = permission_lists([permission_row("users", "update")])
    assert_problem(await other.put(f"/users/{other.id}/permissions", body), 403, "privilege_escalation")
    ok(await desk.admin.put(f"/users/{other.id}/permissions", body))
    ok(await other.put(f"/users/{other.id}/permissions", body))  # the user has this grant already


async def test_users_can_lower_their_own_permissions(desk: Desk) -> None:
    other = await desk.another_admin()
    result = ok(
        await other.put(f"/users/{other.id}/permissions", permission_lists(denied=[permission_row("keys", "delete")]))
    )
    assert collect_permissions(result["effective"]) == ALL - {"keys:delete"}
    ok(await other.patch(f"/users/{other.id}", {"role": "ENGINEER"}))
    assert_problem(await other.patch(f"/users/{other.id}", {"role": "ADMIN"}), 401, "invalid_token")
    assert ok(await desk.admin.get(f"/users/{other.id}"))["role"] == "ENGINEER"


# --- kinds of roles ---------------------------------------------------------------------------------------------------

# The permissions to administer users and roles, and little else.
STEWARD = (*FEW, "users:create", "roles:view", "roles:create", "roles:update", "roles:delete")


async def test_an_admin_role_with_the_callers_permissions_cannot_be_created_or_assigned(desk: Desk) -> None:
    steward = await add_user_with_permissions(desk, *STEWARD)
    table = [row.model_dump(mode="json") for row in as_table(frozenset(STEWARD))]
    created = await steward.post("/roles", {"name": "Head steward", "role": "ADMIN", "permissions": table})
    assert_problem(created, 403, "privilege_escalation")
    above = await add_role(desk, *STEWARD, role=ADMIN)  # by an admin
    assert_problem(await steward.post("/roles", {"name": "A copy", "copyOf": str(above)}), 403, "privilege_escalation")
    colleague = await add_user(desk, role_id=await add_role(desk, "tickets:view"))
    for user_id in (steward.id, colleague.id):
        answer = await steward.put(f"/users/{user_id}/role", {"roleId": str(above)})
        assert_problem(answer, 403, "privilege_escalation")
        assert (await read_row(desk, user_id)).role_kind == "ENGINEER"


async def test_denials_do_not_help_to_get_an_admin_role(desk: Desk) -> None:
    steward, colleague = (
        await add_user_with_permissions(desk, *STEWARD),
        await add_user(desk, role_id=await add_role(desk, "tickets:view")),
    )
    rest = permission_lists(denied=[row.model_dump(mode="json") for row in as_table(ALL - set(STEWARD))])
    for user_id in (steward.id, colleague.id):
        path = f"/users/{user_id}"
        ok(await steward.put(f"{path}/permissions", rest))
        assert_problem(await steward.patch(path, {"role": "ADMIN"}), 403, "privilege_escalation")
        assert_problem(await steward.put(f"{path}/role", {"roleId": str(roles.ADMIN.id)}), 403, "privilege_escalation")
        assert (await read_row(desk, user_id)).role_kind == "ENGINEER"


async def test_permissions_of_a_role_count_even_if_they_are_denied_to_the_user(desk: Desk) -> None:
    limited = await add_limited_admin(desk)
    row = await add_user(desk, role_id=await add_role(desk, "tickets:view"), denied=["keys:view"])
    wide = await add_role(desk, "tickets:view", "keys:view")
    assert_problem(await limited.put(f"/users/{row.id}/role", {"roleId": str(wide)}), 403, "privilege_escalation")
    ok(await desk.admin.put(f"/users/{row.id}/role", {"roleId": str(wide)}))


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize("status", ["ACTIVE", "PENDING"])
async def test_a_user_of_a_higher_role_kind_cannot_be_changed_whatever_their_permissions(
    desk: Desk, status: str, method: str, path: str, body: Any
) -> None:
    limited = await add_limited_admin(desk)
    row = await add_user(desk, ADMIN, status=status, role_id=await add_role(desk, "tickets:view", role=ADMIN))
    answer = await limited.http.request(method, f"/users/{row.id}{path}", json=body, headers=limited.headers)
    assert_problem(answer, 403, "privilege_escalation")
    assert await list_events(desk, row.id) == []
    assert (await read_row(desk, row.id)).status == status


async def test_for_the_same_role_kind_permissions_decide(desk: Desk) -> None:
    limited = await add_user_with_permissions(desk, *FEW, role=ADMIN)
    row = await add_user(desk, role_id=await add_role(desk, "tickets:view"))
    above = await add_role(desk, "tickets:view", role=ADMIN)
    assert ok(await limited.put(f"/users/{row.id}/role", {"roleId": str(above)}))["role"] == "ADMIN"
    ok(await limited.patch(f"/users/{row.id}", {"status": "SUSPENDED"}))


async def test_users_cannot_take_a_role_with_permissions_that_were_granted_to_them(desk: Desk) -> None:
    wanted = {"webhooks:delete", *STEWARD}
    keeper = await add_user_with_permissions(desk, *STEWARD)
    grant = permission_lists([permission_row("webhooks", "delete")])
    ok(await desk.admin.put(f"/users/{keeper.id}/permissions", grant))
    table = [row.model_dump(mode="json") for row in as_table(frozenset(wanted))]
    created = await keeper.post("/roles", {"name": "Keeper", "permissions": table})
    assert created.status_code == 201

    own_path = f"/users/{keeper.id}"
    assert_problem(await keeper.put(f"{own_path}/role", {"roleId": created.json()["id"]}), 403, "privilege_escalation")
    ok(await desk.admin.put(f"{own_path}/permissions", permission_lists()))
    assert (await read_row(desk, keeper.id)).permissions == set(STEWARD)
    less = await add_role(desk, "users:update", "users:view")
    assert ok(await keeper.put(f"{own_path}/role", {"roleId": str(less)}))["roleId"] == str(less)

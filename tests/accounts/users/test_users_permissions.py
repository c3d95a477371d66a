"""What somebody may do on top of their role, and that nobody gives what they do not have."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.permissions import ALL, Resource
from app.accounts.roles import rules as roles
from app.accounts.roles.schemas import as_table
from app.core.database.pool import Database
from tests.accounts.crew import ADMIN, CUSTOMER, a_role, events_about, hire, ok, row_of, sign_in, with_only
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import refused, wrong_fields


def as_set(table: list[JSON]) -> set[str]:
    """What a table allows, as it is stored."""
    return {f"{row['resource']}:{action}" for row in table for action, may in row.items() if may is True}


def lists(granted: object = (), denied: object = ()) -> JSON:
    """Both, as a request must say them."""
    return {"granted": granted or [], "denied": denied or []}


def line(resource: str, *actions: str) -> JSON:
    return {"resource": resource, **dict.fromkeys(actions, True)}


# --- reading and replacing --------------------------------------------------------------------------------------------


async def test_they_are_the_roles_and_what_is_granted_less_what_is_denied(desk: Desk) -> None:
    row = await hire(desk)
    body = {"granted": [line("keys", "view", "create")], "denied": [line("vendors", "view")]}
    said = ok(await desk.admin.put(f"/users/{row.id}/permissions", body))
    assert said == ok(await desk.admin.get(f"/users/{row.id}/permissions"))
    assert (said["role"], said["roleId"], said["designation"]) == ("ENGINEER", str(roles.ENGINEER.id), "Engineer")
    every = {"view": False, "create": False, "update": False, "delete": False}
    assert said["granted"] == [{"resource": "keys", **every, "view": True, "create": True}]
    assert said["denied"] == [{"resource": "vendors", **every, "view": True}]
    assert [row["resource"] for row in said["fromRole"]] == [resource.value for resource in Resource]
    assert as_set(said["fromRole"]) == roles.ENGINEER.permissions
    assert as_set(said["effective"]) == roles.ENGINEER.permissions - {"vendors:view"} | {"keys:view", "keys:create"}
    expected = {"granted": ["keys:create", "keys:view"], "denied": ["vendors:view"]}
    assert await events_about(desk, row.id) == [("user.permissions_changed", expected)]


async def test_a_role_of_the_organisations_own_gives_its_own(desk: Desk) -> None:
    role_id = await a_role(desk, "org:view", "tickets:view")
    row = await hire(desk, role_id=role_id, denied=["org:view"])
    said = ok(await desk.admin.get(f"/users/{row.id}/permissions"))
    assert (said["role"], said["roleId"]) == ("ENGINEER", str(role_id))
    assert said["designation"].startswith("Role ")
    assert as_set(said["fromRole"]) == {"org:view", "tickets:view"}
    assert as_set(said["effective"]) == {"tickets:view"}


async def test_both_lists_are_replaced_and_act_on_live_tokens_at_once(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    engineer = await sign_in(desk)
    path = f"/users/{engineer.id}/permissions"
    refused(await engineer.get("/notifications"), 403, "permission_required")
    ok(await desk.admin.put(path, {"granted": [line("notifications", "view")], "denied": [line("users", "view")]}))
    ok(await engineer.get("/notifications"))
    refused(await engineer.get("/users"), 403, "permission_required")
    said = ok(await desk.admin.put(path, lists()))
    assert (said["granted"], said["denied"]) == ([], [])
    refused(await engineer.get("/notifications"), 403, "permission_required")
    ok(await engineer.get("/users"))


async def test_the_same_again_is_no_change(desk: Desk) -> None:
    row = await hire(desk)
    body = {"granted": [line("keys", "view", "create")], "denied": [line("vendors", "view")]}
    for _ in range(2):
        ok(await desk.admin.put(f"/users/{row.id}/permissions", body))
    assert len(await events_about(desk, row.id)) == 1


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"granted": [line("keys", "view"), line("keys", "create")]}, "granted"),
        ({"denied": [line("keys"), line("keys")]}, "denied"),
        ({"granted": [line("keys", "view", "create")], "denied": [line("keys", "create")]}, "denied"),
        ({"granted": [line("safes", "view")]}, "granted.0.resource"),
        ({"granted": [line("keys", "open")]}, "granted.0.open"),
        ({"granted": [{"resource": "keys", "view": "yes"}]}, "granted.0.view"),
        ({"granted": [{"view": True}]}, "granted.0.resource"),
        ({"granted": ["keys:view"]}, "granted.0"),
        ({"granted": None}, "granted"),
        ({"denied": {}}, "denied"),
    ],
)
async def test_a_wrong_table_is_refused_and_changes_nothing(desk: Desk, body: JSON, wrong: str) -> None:
    row = await hire(desk, granted=["org:view"])
    assert wrong_fields(await desk.admin.put(f"/users/{row.id}/permissions", lists() | body)) == {wrong}
    after = await row_of(desk, row.id)
    assert (after.granted, after.denied) == (["org:view"], [])


@pytest.mark.parametrize(
    ("body", "missing"),
    [({}, {"granted", "denied"}), ({"granted": []}, {"denied"}), ({"denied": []}, {"granted"})],
)
async def test_a_list_that_is_not_there_lifts_no_denial(desk: Desk, body: JSON, missing: set[str]) -> None:
    row = await hire(desk, granted=["org:view"], denied=["vendors:view"])
    assert wrong_fields(await desk.admin.put(f"/users/{row.id}/permissions", body)) == missing
    after = await row_of(desk, row.id)
    assert (after.granted, after.denied) == (["org:view"], ["vendors:view"])


# --- no one gives what they do not have, or acts on who has more ------------------------------------------------------

FEW = ("users:view", "users:update", "users:delete", "tickets:view")


async def with_few(desk: Desk) -> SignedInUser:
    """Somebody who administers users, and may do little else."""
    return await with_only(desk, *FEW)


BEYOND: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"status": "SUSPENDED"}),
    ("PATCH", "", {"role": "CUSTOMER"}),
    ("PATCH", "", {"available": False}),
    ("PATCH", "", {}),
    ("DELETE", "", None),
    ("POST", "/approve", None),
    ("POST", "/reject", {}),
    ("PUT", "/role", {"roleId": str(roles.CUSTOMER.id)}),
    ("PUT", "/permissions", lists(denied=[line("keys", "view")])),
]


@pytest.mark.parametrize(("method", "path", "body"), BEYOND)
@pytest.mark.parametrize("status", ["ACTIVE", "PENDING"])
async def test_who_may_do_more_is_out_of_reach(desk: Desk, status: str, method: str, path: str, body: Any) -> None:
    few, row = await with_few(desk), await hire(desk, ADMIN, status=status)
    before = ok(await desk.admin.get(f"/users/{row.id}"))
    answer = await few.http.request(method, f"/users/{row.id}{path}", json=body, headers=few.headers)
    refused(answer, 403, "privilege_escalation")
    assert ok(await desk.admin.get(f"/users/{row.id}")) == before
    assert await events_about(desk, row.id) == []


async def test_the_only_admin_is_out_of_reach_too(desk: Desk) -> None:
    few = await with_few(desk)
    refused(await few.patch(f"/users/{desk.admin.id}", {"status": "SUSPENDED"}), 403, "privilege_escalation")
    refused(await few.delete(f"/users/{desk.admin.id}"), 403, "privilege_escalation")


async def test_who_may_do_no_more_can_be_changed(desk: Desk) -> None:
    few, row = await with_few(desk), await hire(desk, role_id=await a_role(desk, "tickets:view"))
    ok(await few.patch(f"/users/{row.id}", {"status": "SUSPENDED", "available": True}))
    ok(await few.put(f"/users/{row.id}/permissions", lists([line("users", "view")])))
    ok(await few.put(f"/users/{row.id}/role", {"roleId": str(await a_role(desk, "users:update"))}))
    assert (await few.delete(f"/users/{row.id}")).status_code == 204


async def test_nobody_is_given_more_than_the_giver_has(desk: Desk) -> None:
    few, row = await with_few(desk), await hire(desk, role_id=await a_role(desk, "tickets:view"))
    wide = await a_role(desk, "tickets:view", "keys:view")
    for method, path, body in (
        ("PATCH", "", {"role": "ADMIN"}),
        ("PATCH", "", {"role": "CUSTOMER"}),  # who may open tickets
        ("PUT", "/role", {"roleId": str(roles.ENGINEER.id)}),
        ("PUT", "/role", {"roleId": str(wide)}),
        ("PUT", "/permissions", lists([line("keys", "view")])),
        ("PUT", "/permissions", lists([line("users", "view", "create")])),
    ):
        answer = await few.http.request(method, f"/users/{row.id}{path}", json=body, headers=few.headers)
        refused(answer, 403, "privilege_escalation")
    after = await row_of(desk, row.id)
    assert after.role_kind == "ENGINEER"
    assert after.permissions == {"tickets:view"}


async def test_what_a_customer_was_granted_is_not_set_free_by_who_has_it_not(desk: Desk) -> None:
    few = await with_only(desk, *FEW, *roles.ENGINEER.permissions, *roles.CUSTOMER.permissions)
    row = await hire(desk, CUSTOMER, granted=["keys:delete"])
    refused(await few.patch(f"/users/{row.id}", {"role": "ENGINEER"}), 403, "privilege_escalation")
    ok(await desk.admin.put(f"/users/{row.id}/permissions", lists()))
    ok(await few.patch(f"/users/{row.id}", {"role": "ENGINEER"}))


# --- nobody raises their own ------------------------------------------------------------------------------------------


async def test_nobody_promotes_themselves(desk: Desk) -> None:
    few = await with_only(desk, *FEW, role=ADMIN)
    wide = await a_role(desk, *FEW, "keys:view")
    for method, path, body in (
        ("PATCH", "", {"role": "ADMIN"}),
        ("PATCH", "", {"role": "ENGINEER"}),
        ("PUT", "/role", {"roleId": str(roles.ADMIN.id)}),
        ("PUT", "/role", {"roleId": str(wide)}),
        ("PUT", "/permissions", lists([line("keys", "view")])),
    ):
        answer = await few.http.request(method, f"/users/{few.id}{path}", json=body, headers=few.headers)
        refused(answer, 403, "privilege_escalation")
    assert (await row_of(desk, few.id)).permissions == set(FEW)
    assert await events_about(desk, few.id) == []


async def test_a_denial_is_not_lifted_by_whom_it_binds(desk: Desk) -> None:
    bound = await sign_in(desk, ADMIN, denied=["keys:view"])
    refused(await bound.put(f"/users/{bound.id}/permissions", lists()), 403, "privilege_escalation")
    other = await hire(desk, ADMIN, denied=["keys:view"])
    refused(await bound.put(f"/users/{other.id}/permissions", lists()), 403, "privilege_escalation")
    assert (await row_of(desk, bound.id)).denied == (await row_of(desk, other.id)).denied == ["keys:view"]


async def test_nobody_grants_themselves_what_would_outlast_their_role(desk: Desk) -> None:
    other = await desk.another_admin()
    body = lists([line("users", "update")])
    refused(await other.put(f"/users/{other.id}/permissions", body), 403, "privilege_escalation")
    ok(await desk.admin.put(f"/users/{other.id}/permissions", body))
    ok(await other.put(f"/users/{other.id}/permissions", body))  # which they have already


async def test_ones_own_rights_can_be_lowered(desk: Desk) -> None:
    other = await desk.another_admin()
    said = ok(await other.put(f"/users/{other.id}/permissions", lists(denied=[line("keys", "delete")])))
    assert as_set(said["effective"]) == ALL - {"keys:delete"}
    ok(await other.patch(f"/users/{other.id}", {"role": "ENGINEER"}))
    refused(await other.patch(f"/users/{other.id}", {"role": "ADMIN"}), 403, "permission_required")


# --- kinds of roles ---------------------------------------------------------------------------------------------------

# What it takes to administer users and roles, and little else.
STEWARD = (*FEW, "users:create", "roles:view", "roles:create", "roles:update", "roles:delete")


async def test_nobody_becomes_an_admin_by_a_role_of_their_own_permissions(desk: Desk) -> None:
    steward = await with_only(desk, *STEWARD)
    table = [row.model_dump(mode="json") for row in as_table(frozenset(STEWARD))]
    made = await steward.post("/roles", {"name": "Steward of stewards", "role": "ADMIN", "permissions": table})
    refused(made, 403, "privilege_escalation")
    above = await a_role(desk, *STEWARD, role=ADMIN)  # by an admin
    refused(await steward.post("/roles", {"name": "A copy", "copyOf": str(above)}), 403, "privilege_escalation")
    colleague = await hire(desk, role_id=await a_role(desk, "tickets:view"))
    for user_id in (steward.id, colleague.id):
        answer = await steward.put(f"/users/{user_id}/role", {"roleId": str(above)})
        refused(answer, 403, "privilege_escalation")
        assert (await row_of(desk, user_id)).role_kind == "ENGINEER"


async def test_nobody_becomes_an_admin_by_being_denied_the_rest(desk: Desk) -> None:
    steward, colleague = await with_only(desk, *STEWARD), await hire(desk, role_id=await a_role(desk, "tickets:view"))
    rest = lists(denied=[row.model_dump(mode="json") for row in as_table(ALL - set(STEWARD))])
    for user_id in (steward.id, colleague.id):
        path = f"/users/{user_id}"
        ok(await steward.put(f"{path}/permissions", rest))
        refused(await steward.patch(path, {"role": "ADMIN"}), 403, "privilege_escalation")
        refused(await steward.put(f"{path}/role", {"roleId": str(roles.ADMIN.id)}), 403, "privilege_escalation")
        assert (await row_of(desk, user_id)).role_kind == "ENGINEER"


async def test_a_role_is_not_given_for_what_is_denied_of_it(desk: Desk) -> None:
    few = await with_few(desk)
    row = await hire(desk, role_id=await a_role(desk, "tickets:view"), denied=["keys:view"])
    wide = await a_role(desk, "tickets:view", "keys:view")
    refused(await few.put(f"/users/{row.id}/role", {"roleId": str(wide)}), 403, "privilege_escalation")
    ok(await desk.admin.put(f"/users/{row.id}/role", {"roleId": str(wide)}))


@pytest.mark.parametrize(("method", "path", "body"), BEYOND)
@pytest.mark.parametrize("status", ["ACTIVE", "PENDING"])
async def test_who_is_more_is_out_of_reach_however_little_they_may(
    desk: Desk, status: str, method: str, path: str, body: Any
) -> None:
    few = await with_few(desk)
    row = await hire(desk, ADMIN, status=status, role_id=await a_role(desk, "tickets:view", role=ADMIN))
    answer = await few.http.request(method, f"/users/{row.id}{path}", json=body, headers=few.headers)
    refused(answer, 403, "privilege_escalation")
    assert await events_about(desk, row.id) == []
    assert (await row_of(desk, row.id)).status == status


async def test_of_the_same_kind_permissions_decide(desk: Desk) -> None:
    few = await with_only(desk, *FEW, role=ADMIN)
    row = await hire(desk, role_id=await a_role(desk, "tickets:view"))
    above = await a_role(desk, "tickets:view", role=ADMIN)
    assert ok(await few.put(f"/users/{row.id}/role", {"roleId": str(above)}))["role"] == "ADMIN"
    ok(await few.patch(f"/users/{row.id}", {"status": "SUSPENDED"}))


async def test_what_was_granted_for_a_time_cannot_be_made_a_role_of_ones_own(desk: Desk) -> None:
    wanted = {"webhooks:delete", *STEWARD}
    keeper = await with_only(desk, *STEWARD)
    grant = lists([line("webhooks", "delete")])
    ok(await desk.admin.put(f"/users/{keeper.id}/permissions", grant))
    table = [row.model_dump(mode="json") for row in as_table(frozenset(wanted))]
    made = await keeper.post("/roles", {"name": "Keeper", "permissions": table})
    assert made.status_code == 201

    mine = f"/users/{keeper.id}"
    refused(await keeper.put(f"{mine}/role", {"roleId": made.json()["id"]}), 403, "privilege_escalation")
    ok(await desk.admin.put(f"{mine}/permissions", lists()))
    assert (await row_of(desk, keeper.id)).permissions == set(STEWARD)
    less = await a_role(desk, "users:update", "users:view")
    assert ok(await keeper.put(f"{mine}/role", {"roleId": str(less)}))["roleId"] == str(less)

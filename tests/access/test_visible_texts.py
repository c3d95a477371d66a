"""Every text is shown only to users who may read it where it comes from, by whatever operation they ask.

The test plants a text in each kind of content. Then users with few permissions call every operation that reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from app import wiring
from app.access.user_permissions import ALL, Action, Resource, permission
from app.core.outbox import relay
from app.main import create_api
from tests.accounts.users_and_roles import add_signed_in_user, add_user_with_permissions, ok
from tests.conftest import settings_for
from tests.organisation_client import Desk, SignedInUser
from tests.postgres import TestServer
from tests.problems import assert_problem

TITLE, OLD_TITLE, DESCRIPTION, REPLY = "mrktitle", "mrkoldtitle", "mrkdescription", "mrkreply"
REQUESTER_NAME, REQUESTER_EMAIL, EXTERNAL_ID = "Mrkrequester", "mrkrequester@customer.test", "mrkexternal"
USER_NAME, USER_EMAIL, REASON = "Mrkuser", "mrkuser@growfin.test", "mrkreason"
ASSIGNEE_NAME, ASSIGNEE_EMAIL = "Mrkassignee", "mrkassignee@growfin.test"
ROLE_NAME, MENU_NAME = "mrkrole", "mrkmenu"

# For each text: the sets of permissions of which one is needed to read it. The log of mails shows recipients, and a
# ticket its requester and assignee: these are parts of the contract.
READERS: Mapping[str, tuple[set[str], ...]] = {
    TITLE: ({"tickets:view"},),
    OLD_TITLE: ({"tickets:view"},),
    DESCRIPTION: ({"tickets:view"},),
    REPLY: ({"tickets:view", "comments:view"},),
    REQUESTER_NAME: ({"tickets:view"}, {"requesters:view"}),
    REQUESTER_EMAIL: ({"tickets:view"}, {"requesters:view"}, {"notifications:view"}),
    EXTERNAL_ID: ({"requesters:view"},),
    USER_NAME: ({"users:view"},),
    USER_EMAIL: ({"users:view"}, {"notifications:view"}),
    REASON: ({"users:view"},),
    ASSIGNEE_NAME: ({"users:view"}, {"tickets:view"}),
    ASSIGNEE_EMAIL: ({"users:view"}, {"tickets:view"}, {"notifications:view"}),
    ROLE_NAME: ({"roles:view"}, {"users:view"}),
    MENU_NAME: ({"menus:view"}, {"webhooks:view"}),
}
VIEWS = sorted(permission(resource, Action.VIEW) for resource in Resource)
ROLES = [
    *([one] for one in VIEWS),
    ["notifications:view", "tickets:view"],
    ["notifications:view", "comments:view"],
    ["notifications:view", "comments:view", "tickets:view"],
    ["notifications:view", "users:view"],
    sorted(one for one in ALL if not one.endswith(":view")),
    sorted(ALL - {"comments:view"}),
    sorted(ALL - {"tickets:view"}),
]
WITHOUT_CONTENT = {"/", "/health/live", "/health/ready", "/metrics", "/users/{id}/picture"}


@dataclass(frozen=True)
class World:
    """An organisation with a text in each kind of content, and the paths that read it."""

    desk: Desk
    paths: Mapping[str, list[str]]
    lists: list[str]


async def plant(desk: Desk) -> dict[str, list[str]]:
    """Plant the texts; return the ids of what has them, by the paths that take an id."""
    assignee = await add_signed_in_user(desk, first_name=ASSIGNEE_NAME, email=ASSIGNEE_EMAIL, available=True)
    requester = {"email": REQUESTER_EMAIL, "name": REQUESTER_NAME, "externalId": EXTERNAL_ID}
    ticket = await desk.open(title=OLD_TITLE, description=DESCRIPTION, requester=requester)
    ok(await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": TITLE, "assigneeId": str(assignee.id)}))
    await desk.respond(ticket, REPLY)
    user = await add_signed_in_user(
        desk, first_name=USER_NAME, email=USER_EMAIL, status="PENDING", bio="mrkbio", available=False
    )
    ok(await desk.admin.post(f"/users/{user.id}/reject", {"reason": REASON}))
    role = await desk.admin.post("/roles", {"name": ROLE_NAME, "permissions": []})
    named = await add_signed_in_user(desk, role_id=UUID(role.json()["id"]))
    menu = await desk.admin.post("/menus", {"name": MENU_NAME, "resource": "webhooks"})
    assert menu.status_code == 201, menu.text
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)
    log = ok(await desk.admin.get("/notifications", params={"limit": 100}))["items"]
    assert {one["to"] for one in log} >= {REQUESTER_EMAIL, USER_EMAIL, ASSIGNEE_EMAIL}
    return {
        "/tickets": [ticket["id"]],
        "/requesters": [ticket["requester"]["id"]],
        "/users": [str(user.id), str(assignee.id), str(named.id)],
        "/roles": [role.json()["id"]],
        "/menus": [menu.json()["id"]],
        "/notifications": [one["id"] for one in log],
    }


@pytest.fixture
async def world(desk: Desk, server: TestServer) -> World:
    ids, paths, lists = await plant(desk), dict[str, list[str]](), []
    for template, operations in create_api(settings_for(server)).openapi()["paths"].items():
        if "get" not in operations or template in WITHOUT_CONTENT or template.startswith("/auth/"):
            continue
        parameters = {one.get("name") for one in operations["get"].get("parameters", [])}
        if "{" not in template:
            paths[template] = [template]
            lists += [template] if "q" in parameters else []
        else:
            known = ids[f"/{template.split('/')[1]}"]  # a new kind of path must be planted above
            paths[template] = [template.replace("{id}", one) for one in known]
    return World(desk, paths, lists)


def may_read(text: str, permissions: set[str]) -> bool:
    return any(needed <= permissions for needed in READERS[text])


async def collect(world: World, user: SignedInUser) -> tuple[set[str], set[int]]:
    """Return the texts that the user is shown, by any operation, and the statuses of the responses."""
    shown, statuses = set[str](), set[int]()
    for path in (one for several in world.paths.values() for one in several):
        answer = await user.get(path, params={"limit": 100} if path in world.paths else None)
        if answer.status_code == 422:
            answer = await user.get(path)
        statuses.add(answer.status_code)
        shown |= {text for text in READERS if text in answer.text}
    return shown, statuses


async def search(world: World, user: SignedInUser) -> set[str]:
    """Return the texts for which a search of the user has a result."""
    found = set[str]()
    for path in world.lists:
        for text in READERS:
            answer: Any = await user.get(path, params={"q": text, "include": "total"})
            if answer.status_code == 200 and (answer.json()["items"] or answer.json()["total"]):
                found.add(text)
    return found


async def test_every_text_is_shown_only_to_users_who_may_read_it(world: World) -> None:
    for permissions in ROLES:
        user = await add_user_with_permissions(world.desk, *permissions)
        allowed = {text for text in READERS if may_read(text, set(permissions))}
        shown, statuses = await collect(world, user)
        assert shown == allowed, permissions
        assert statuses <= {200, 403}
        assert await search(world, user) <= allowed, permissions


async def test_an_admin_is_shown_every_text(world: World) -> None:
    shown, statuses = await collect(world, world.desk.admin)
    assert (shown, statuses) == (set(READERS), {200})


async def test_a_notification_without_the_permissions_has_no_text(world: World) -> None:
    reader = await add_user_with_permissions(world.desk, "notifications:view")
    bodies = [ok(await reader.get(path)) for path in world.paths["/notifications/{id}"]]
    assert {(one["body"], one["bodyHtml"]) for one in bodies} == {(None, None)}
    about_tickets = {one["subject"] for one in bodies if one["ticketId"]}
    assert about_tickets == {(await world.desk.open())["reference"].join("[]").replace("-2]", "-1]")}


@pytest.mark.parametrize("lacking", ["tickets:view", "requesters:view", "users:view"])
async def test_changes_are_answered_only_to_users_who_may_see_the_result(world: World, lacking: str) -> None:
    writer = await add_user_with_permissions(world.desk, *(ALL - {lacking}))
    (ticket,), (requester,), (user, *_) = (world.paths[f"/{one}/{{id}}"] for one in ("tickets", "requesters", "users"))
    answers = {
        "tickets:view": [
            await writer.patch(ticket, {"priority": "HIGH"}),
            await writer.post(ticket, {"priority": "HIGH"}),
            await writer.post(f"{ticket}/change_status", {"status": "OPEN"}),
            await writer.post(f"{ticket}/accept"),
            await writer.post(f"{ticket}/respond", {"message": "Hello."}),
        ],
        "requesters:view": [await writer.patch(requester, {"locale": "en"})],
        "users:view": [await writer.post(f"{user}/approve"), await writer.patch(user, {"available": False})],
    }[lacking]
    for answer in answers:
        problem = assert_problem(answer, 403, "permission_required")
        assert lacking in problem["detail"]

"""Create, read and list the roles of an organisation."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import select

from app.access.user_permissions import Resource
from app.core.outbox.models import EventRow
from tests.organisation_client import JSON, Desk, SignedInUser

TICKET_READER = [{"resource": "tickets", "view": True}]


async def create_role(user: SignedInUser, **fields: object) -> JSON:
    answer = await user.post("/roles", {"name": f"Role {uuid4().hex}", **fields})
    assert answer.status_code == 201, answer.text
    role: JSON = answer.json()
    assert answer.headers["location"] == f"/roles/{role['id']}"
    return role


async def read_role(user: SignedInUser, role_id: object) -> JSON:
    answer = await user.get(f"/roles/{role_id}")
    assert answer.status_code == 200, answer.text
    role: JSON = answer.json()
    return role


def permissions_of(role: JSON) -> set[str]:
    """Return the permissions of a role as strings."""
    assert [row["resource"] for row in role["permissions"]] == [resource.value for resource in Resource]
    actions = ("view", "create", "update", "delete")
    return {f"{row['resource']}:{action}" for row in role["permissions"] for action in actions if row[action]}


async def role_events(desk: Desk) -> list[tuple[str, JSON]]:
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [(row.type, {"roleId": str(row.subject_id), **row.data}) for row in rows if row.type.startswith("role.")]


async def list_names(desk: Desk) -> list[str]:
    """List the names of all roles, in the order of the list."""
    return [role["name"] for role in (await desk.admin.get("/roles", params={"limit": 100})).json()["items"]]

"""Add users and roles to an organisation, and read what is stored about them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select
from sqlalchemy.orm.attributes import set_committed_value

from app.access.user_permissions import RoleKind
from app.accounts.roles.models import Role
from app.accounts.users import creation as service
from app.accounts.users import queries
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.outbox.models import EventRow
from tests.organisation_client import JSON, Desk, SignedInUser, open_session
from tests.services import unique_email

ADMIN, ENGINEER, CUSTOMER = RoleKind.ADMIN, RoleKind.ENGINEER, RoleKind.CUSTOMER


async def add_role(desk: Desk, *permissions: str, role: RoleKind = ENGINEER) -> UUID:
    """Add a custom role; return its id."""
    role_id = new_id()
    async with desk.database.session(desk.id) as db:
        db.add(
            Role(
                org_id=desk.id, id=role_id, name=f"Role {uuid4().hex}", kind=role, permissions=sorted(permissions),
                created_at=real_now(), updated_at=real_now(),
            )
        )  # fmt: skip
    return role_id


async def add_user(desk: Desk, role: RoleKind = ENGINEER, **fields: Any) -> UserRow:
    """Add a user, active by default."""
    defaults = {
        "first_name": "Grace",
        "last_name": "Hopper",
        "email": unique_email(),
        "status": AccountStatus.ACTIVE,
        "available": False,
        "granted": [],
        "denied": [],
        "created_at": real_now(),
    }
    row = UserRow(org_id=desk.id, id=new_id(), role_kind=role, **defaults | fields)
    async with desk.database.session(desk.id) as db:
        if row.role_id:
            set_committed_value(row, "role", await db.get(Role, (desk.id, row.role_id)))
        row.refresh_derived_permissions()
        await service.add_user(db, row, None)
    return row


async def add_signed_in_user(desk: Desk, role: RoleKind = ENGINEER, **fields: Any) -> SignedInUser:
    """Add a user, and open a session."""
    return await open_session(desk, await add_user(desk, role, **fields))


async def add_user_with_permissions(desk: Desk, *permissions: str, role: RoleKind = ENGINEER) -> SignedInUser:
    """Add a user with exactly these permissions, and open a session."""
    return await add_signed_in_user(desk, role, role_id=await add_role(desk, *permissions, role=role))


async def read_row(desk: Desk, user_id: UUID) -> UserRow:
    """Return the stored row of a user, with their role."""
    async with desk.database.session(desk.id) as db:
        return await queries.get_user(db, desk.id, user_id)


async def list_events(desk: Desk, user_id: UUID) -> list[tuple[str, JSON]]:
    """List the type and data of the events about a user."""
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [(row.type, row.data) for row in rows if str(row.subject_id) == str(user_id)]


def ok(answer: httpx.Response) -> JSON:
    """Return the body of a response with status 200."""
    assert answer.status_code == 200, answer.text
    body: JSON = answer.json()
    return body

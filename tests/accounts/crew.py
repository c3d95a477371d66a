"""Users of any role and status, and what is known of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select
from sqlalchemy.orm.attributes import set_committed_value

from app.access.permissions import RoleKind
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


async def a_role(desk: Desk, *permissions: str, role: RoleKind = ENGINEER) -> UUID:
    """A role of the organisation's own."""
    role_id = new_id()
    async with desk.database.session(desk.id) as db:
        db.add(
            Role(
                org_id=desk.id, id=role_id, name=f"Role {uuid4().hex}", kind=role, permissions=sorted(permissions),
                created_at=real_now(), updated_at=real_now(),
            )
        )  # fmt: skip
    return role_id


async def hire(desk: Desk, role: RoleKind = ENGINEER, **fields: Any) -> UserRow:
    """Somebody new, who is active unless it says otherwise."""
    told = {
        "first_name": "Grace",
        "last_name": "Hopper",
        "email": unique_email(),
        "status": AccountStatus.ACTIVE,
        "available": False,
        "granted": [],
        "denied": [],
        "created_at": real_now(),
    }
    row = UserRow(org_id=desk.id, id=new_id(), role_kind=role, **told | fields)
    async with desk.database.session(desk.id) as db:
        if row.role_id:
            set_committed_value(row, "role", await db.get(Role, (desk.id, row.role_id)))
        row.refresh_derived_permissions()
        await service.add_user(db, row, None)
    return row


async def sign_in(desk: Desk, role: RoleKind = ENGINEER, **fields: Any) -> SignedInUser:
    """Somebody new who is signed in."""
    return await open_session(desk, await hire(desk, role, **fields))


async def with_only(desk: Desk, *permissions: str, role: RoleKind = ENGINEER) -> SignedInUser:
    """Somebody who is signed in and may do just this."""
    return await sign_in(desk, role, role_id=await a_role(desk, *permissions, role=role))


async def row_of(desk: Desk, user_id: UUID) -> UserRow:
    """Somebody as they are stored."""
    async with desk.database.session(desk.id) as db:
        return await queries.get_user(db, desk.id, user_id)


async def events_about(desk: Desk, user_id: UUID) -> list[tuple[str, JSON]]:
    """What happened to somebody, without their id."""
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [(row.type, row.data) for row in rows if str(row.subject_id) == str(user_id)]


def ok(answer: httpx.Response) -> JSON:
    """What a good answer says."""
    assert answer.status_code == 200, answer.text
    said: JSON = answer.json()
    return said

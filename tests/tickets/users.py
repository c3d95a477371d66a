"""Signed-in customers and engineers, and changes of their rows."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import update

from app.access.user_permissions import RoleKind
from app.accounts.users import creation
from app.accounts.users.events import EmailVerified
from app.accounts.users.models import Credential
from app.accounts.users.models import User as UserRow
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM, record
from app.tickets.models import Ticket
from tests.organisation_client import Desk, SignedInUser, open_session


async def add_and_sign_in(
    desk: Desk, role: RoleKind, email: str = "", *, verified: bool = True, **columns: Any
) -> SignedInUser:
    """Add a user, active and unavailable by default, and sign them in."""
    now = real_now()
    row = UserRow(
        **{
            "org_id": desk.id,
            "id": new_id(),
            "first_name": "Mia",
            "last_name": "Moreau",
            "email": email or f"p{uuid4().hex}@customer.example",
            "email_verified_at": now if verified else None,
            "role_kind": role,
            "status": "ACTIVE",
            "available": False,
            "granted": [],
            "denied": [],
            "created_at": now,
            **columns,
        }
    )
    row.refresh_derived_permissions()
    async with desk.database.session(desk.id) as db:
        await creation.add_user(db, row, None)
    return await open_session(desk, row)


async def add_customer(desk: Desk, email: str = "", *, verified: bool = True, **columns: Any) -> SignedInUser:
    return await add_and_sign_in(desk, RoleKind.CUSTOMER, email, verified=verified, **columns)


async def add_engineer(desk: Desk, *, available: bool = True, **columns: Any) -> SignedInUser:
    return await add_and_sign_in(desk, RoleKind.ENGINEER, available=available, **columns)


async def change_row(desk: Desk, user: SignedInUser, **columns: Any) -> None:
    """Change the row of a user, without the service."""
    async with desk.database.session(desk.id) as db:
        await db.execute(update(UserRow).where(UserRow.org_id == desk.id, UserRow.id == user.id).values(**columns))
        if email := columns.get("email"):
            conditions = (Credential.org_id == desk.id, Credential.user_id == user.id)
            await db.execute(update(Credential).where(*conditions).values(email=email))


async def verify(desk: Desk, user: SignedInUser, **columns: Any) -> None:
    """Mark a user's e-mail address as verified, after changing these columns of the user."""
    async with desk.database.session(desk.id) as db:
        row = await db.get_one(UserRow, (desk.id, user.id), with_for_update={"key_share": True})
        for name, value in columns.items():
            setattr(row, name, value)
        row.email_verified_at = real_now()
        record(db, EmailVerified(at=real_now(), actor=SYSTEM, user_id=user.id))
        conditions = (Credential.org_id == desk.id, Credential.user_id == user.id)
        await db.execute(update(Credential).where(*conditions).values(email=row.email))


async def assign_all_to(desk: Desk, user_id: UUID) -> None:
    """Assign all tickets of the organisation to a user, without the service."""
    async with desk.database.session(desk.id) as db:
        await db.execute(update(Ticket).where(Ticket.org_id == desk.id).values(assignee_id=user_id))

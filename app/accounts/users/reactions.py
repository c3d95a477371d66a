"""Reactions that keep columns of users up to date."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Uuid, any_, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.user_permissions import can_work_on_tickets, combine_permissions
from app.accounts.roles import queries as roles
from app.accounts.roles.events import RoleUpdated
from app.accounts.users.models import User


async def refresh_works_on_tickets(db: AsyncSession, org_id: UUID, event: RoleUpdated) -> None:
    """Update `works_on_tickets` of all users of a role whose permissions changed, in a constant number of statements.

    The transaction that changes a role has locked the organisation, so no role or permission override is assigned
    meanwhile.
    """
    if not (event.could_enable_ticket_work or event.could_disable_ticket_work):
        return
    await db.flush()
    role_permissions = frozenset((await roles.get_role(db, org_id, event.role_id)).permissions)
    statement = (
        select(User.id, User.works_on_tickets, User.granted, User.denied)
        .where(User.org_id == org_id, User.role_id == event.role_id)
        .order_by(User.id)
        .with_for_update(key_share=True)
    )
    users = (await db.execute(statement)).all()
    allowed = {
        user.id
        for user in users
        if can_work_on_tickets(combine_permissions(role_permissions, frozenset(user.granted), frozenset(user.denied)))
    }
    for works in (True, False):
        ids = [user.id for user in users if (user.id in allowed) is works and user.works_on_tickets is not works]
        if ids:
            conditions = (User.org_id == org_id, User.id == any_(literal(ids, ARRAY(Uuid))))
            change = update(User).where(*conditions).values(works_on_tickets=works)
            await db.execute(change.execution_options(synchronize_session=False))

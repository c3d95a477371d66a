"""What becomes of users by itself."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Uuid, any_, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import TICKET_WORK, effective
from app.accounts.roles import queries as roles
from app.accounts.roles.events import RoleUpdated
from app.accounts.users.models import User


async def note_who_works_on_tickets(db: AsyncSession, org_id: UUID, event: RoleUpdated) -> None:
    """Note of all who have a role whether they may still work on tickets, or may now: a reaction to its change.

    However many they are, it takes as many statements. Nobody is given the role, or anything besides it, meanwhile:
    whoever changes a role has locked the organisation.
    """
    if TICKET_WORK.isdisjoint([*event.added, *event.removed]):
        return
    await db.flush()
    of_role = frozenset((await roles.get_role(db, org_id, event.role_id)).permissions)
    who = select(User.id, User.works_on_tickets, User.granted, User.denied).where(
        User.org_id == org_id, User.role_id == event.role_id
    )
    users = (await db.execute(who.order_by(User.id).with_for_update(key_share=True))).all()
    may = {one.id for one in users if effective(of_role, frozenset(one.granted), frozenset(one.denied)) >= TICKET_WORK}
    for works in (True, False):
        ids = [one.id for one in users if (one.id in may) is works and one.works_on_tickets is not works]
        if ids:
            which = (User.org_id == org_id, User.id == any_(literal(ids, ARRAY(Uuid))))
            change = update(User).where(*which).values(works_on_tickets=works)
            await db.execute(change.execution_options(synchronize_session=False))

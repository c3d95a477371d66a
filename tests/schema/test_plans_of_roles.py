"""Query plans of a change of a role: its users and their tickets are read from indexes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.accounts.roles.events import RoleUpdated
from app.accounts.users.models import User
from app.accounts.users.reactions import refresh_works_on_tickets
from app.core.clock import real_now
from app.core.outbox.events import SYSTEM
from app.core.outbox.timers import Due
from app.tickets.user_changes.unassigning import (
    UNASSIGN_TICKETS_OF_ROLE,
    resume_unassigning_of_role,
    unassign_tickets_of_role,
)
from tests.schema.catalog import Connection
from tests.schema.plans import ORG, START, USER_ID, explain, find_statement_problems, used_indexes

ROLE = USER_ID  # a user and a role have this id


# For many more users the planner would read all of them.
@pytest.mark.parametrize("users", [1, 8])
async def test_the_users_of_a_role_and_their_tickets_are_found_by_indexes(
    service_connection: Connection, session: Any, users: int
) -> None:
    db, sent_statements = session
    ids = [UUID(int=ROLE.int + place) for place in range(users)]
    await db.execute(update(User).where(User.org_id == ORG, User.id.in_(ids)).values(role_id=ROLE))
    # `tickets:view` is what the role has left.
    event = RoleUpdated(at=START, actor=SYSTEM, role_id=ROLE, name="Lead", added=[], removed=["tickets:update"])
    sent_statements.clear()
    await refresh_works_on_tickets(db, ORG, event)
    await unassign_tickets_of_role(db, ORG, event)

    assert sum(one[0].startswith("UPDATE users") for one in sent_statements) == 1
    assert len(sent_statements) == 4  # for any number of users
    await resume_unassigning_of_role(db, ORG, [Due(UNASSIGN_TICKETS_OF_ROLE, ROLE, START, real_now())])
    found = [one for one in sent_statements if one[0].startswith(("SELECT", "UPDATE"))]
    used = set()
    for sql, parameters in found:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql
        used |= used_indexes(await explain(service_connection, sql, parameters))
    assert {"ix_users_org_id_role_id", "pk_users", "pk_tickets"} <= used

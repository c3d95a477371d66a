"""SQL of assignment: the rotation, and the update that reassigns many tickets."""

from __future__ import annotations

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.accounts.users.models import AVAILABLE
from app.tickets.assignment.rules import ROLE_KINDS_IN_ORDER

# `rules.choose_assignee` for a counter's row (`last_number`) joined with the row of `available_users_sql` (`ids`).
ASSIGNEE_IN_TURN = "ids[1 + last_number % cardinality(ids)]"


def available_users_sql(org_id: str) -> str:
    """Return a statement for `ids`, the users that new tickets go to, in the order of the rotation; null for none.

    They are ordered by id, which is the order in which they signed up.

    Args:
        org_id: the parameter, as the driver in use writes it.
    """
    by_kind = (f"array_agg(id ORDER BY id) FILTER (WHERE role_kind = '{kind}')" for kind in ROLE_KINDS_IN_ORDER)
    return f"SELECT coalesce({', '.join(by_kind)}) AS ids FROM users WHERE org_id = {org_id} AND {AVAILABLE}"  # noqa: S608 - constants


# `Ticket.assign` and `Ticket.count_change` for many tickets. Rows are found by an array of their ids, and not by a
# join, whose plan goes wrong while the planner's statistics lag behind.
REASSIGN = text(
    "UPDATE tickets "
    "SET assignee_id = coalesce((:assignees)[array_position(:ids, id)]), accepted_at = NULL, version = version + 1 "
    "WHERE org_id = :org_id AND id = ANY(:ids)"
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("assignees", type_=ARRAY(Uuid)),
)

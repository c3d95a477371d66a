"""SQL of assignment: the rotation, and the update that reassigns many tickets."""

from __future__ import annotations

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.accounts.users.models import RECEIVES_NEW_TICKETS_SQL
from app.tickets.assignment.rules import ROLE_KINDS_IN_ORDER

# `rules.choose_assignee` in SQL. Expects `last_number` from the counter's row and `ids` from `available_users_sql`.
ASSIGNEE_IN_TURN = "ids[1 + last_number % cardinality(ids)]"


def available_users_sql(org_id: str) -> str:
    """Return a statement with one column, `ids`: the users in the rotation, or null if no user is available.

    The ids are in the order of the rotation, which is the order in which the users signed up.

    Args:
        org_id: the placeholder of the organisation's id, such as `$1` or `:org_id`.
    """
    ids_by_kind = (f"array_agg(id ORDER BY id) FILTER (WHERE role_kind = '{kind}')" for kind in ROLE_KINDS_IN_ORDER)
    conditions = f"org_id = {org_id} AND {RECEIVES_NEW_TICKETS_SQL}"
    return f"SELECT coalesce({', '.join(ids_by_kind)}) AS ids FROM users WHERE {conditions}"  # noqa: S608 - constants


# Do what `Ticket.assign` and `Ticket.count_change` do, for many tickets in one statement. Rows are found by an array of
# their ids and not by a join: a join gets a bad plan while the planner's statistics lag behind.
REASSIGN = text(
    "UPDATE tickets "
    "SET assignee_id = coalesce((:assignees)[array_position(:ids, id)]), accepted_at = NULL, version = version + 1 "
    "WHERE org_id = :org_id AND id = ANY(:ids)"
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("assignees", type_=ARRAY(Uuid)),
)

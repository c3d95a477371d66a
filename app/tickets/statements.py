"""The SQL of the most frequent operations, without the ORM: reading a ticket, and opening one.

Each statement names `org_id` for every table. Statuses, kinds and the data of events come from the code that defines
them. A ticket's row includes its requester and its assignee, so that a response takes one round trip.
"""

from __future__ import annotations

from app.core.database.intervals import add_interval_sql
from app.core.outbox.numbering import TICK
from app.requesters import statements as requesters
from app.tickets.assignment.rules import ASSIGN
from app.tickets.assignment.statements import ASSIGNEE_IN_TURN, available_users_sql
from app.tickets.models import TicketStatus

# The columns of `TicketRow`, for tickets `t` joined with `JOINS`.
COLUMNS = """t.id, t.number, t.org_id, t.title, t.description, t.status, t.priority,
    coalesce(r.merged_into_id, r.id) AS requester_id, r.email AS requester_email, r.name AS requester_name,
    r.user_id AS requester_user_id, r.was_changed AS requester_was_changed, t.assignee_id, t.created_at, t.updated_at,
    t.responded_at, t.closed_at, t.auto_close_at, t.accepted_at, t.version, p.email AS assignee_email,
    p.first_name AS assignee_first_name, p.last_name AS assignee_last_name"""
JOINS = """JOIN requesters AS r ON r.org_id = $1 AND r.id = t.requester_id
    LEFT JOIN users AS p ON p.org_id = $1 AND p.id = t.assignee_id"""

READ = f"SELECT {COLUMNS} FROM tickets AS t {JOINS} WHERE t.org_id = $1 AND t.id = $2"  # noqa: S608 - constants
READ_OWN = f"{READ} AND r.user_id = $3"
FIND_BY_NUMBER = "SELECT id FROM tickets WHERE org_id = $1 AND number = $2"

_TICK = f"interval '{TICK.microseconds} microseconds'"


def _count_sql(requester_sql: str) -> str:
    """Return the statement that counts a new ticket of the requester; it does nothing if there is no requester.

    The counter's row gives the number, and with it the assignee: no row of an assignee is locked. It also gives the
    time, as `numbering.py` does, so that tickets are as old as their numbers say.

    Args:
        requester_sql: the statement that returns the requester: `id`, `email`, `name` and `user_id`.
    """
    return f"""
    WITH available AS MATERIALIZED (
        {available_users_sql("$1")}
    ), requester AS ({requester_sql}), counted AS (
        UPDATE counters SET last_number = last_number + 1,
               last_event = last_event + CASE WHEN available.ids IS NULL THEN 1 ELSE 2 END,
               last_at = greatest($3, {add_interval_sql("last_at", _TICK)})
        FROM available JOIN requester ON true WHERE counters.org_id = $1
        RETURNING last_number AS number, last_event, last_at AS at, {ASSIGNEE_IN_TURN} AS assignee_id,
                  requester.id AS requester_id, requester.email AS requester_email, requester.name AS requester_name,
                  requester.user_id AS requester_user_id
    )
    SELECT c.*, p.email AS assignee_email, p.first_name AS assignee_first_name, p.last_name AS assignee_last_name
    FROM counted AS c LEFT JOIN users AS p ON p.org_id = $1 AND p.id = c.assignee_id
    """  # noqa: S608 - constants


# For the requester with an e-mail address ($2), or an id ($2), or the requester of a signed-in user ($2).
COUNT = _count_sql(requesters.FIND_BY_EMAIL)
COUNT_BY_ID = _count_sql(requesters.FIND_BY_ID)
COUNT_OWN = _count_sql(requesters.FIND_OWN)
# For a new requester. Counts nothing if there is already one with the address ($2) or the product's id.
COUNT_NEW = _count_sql(
    requesters.insert_sql(
        id="$4", email="$2", owns_email="$5", name="$6", locale="$7", external_id="$8", user_id="$9", created_at="$10"
    )
)

INSERT = f"""
    INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_id, assignee_id,
                         created_at, updated_at, version)
    VALUES ($1, $2, $3, $4, $5, '{TicketStatus.OPEN}', $6, $7, $8, $9, $9, 1)
"""  # noqa: S608 - constants
# The first ticket of a requester, who is linked to the account that has proved the address.
INSERT_FIRST = f"WITH ticket AS ({INSERT} RETURNING id) {requesters.link_sql('$7')}"
WAIT = f"INSERT INTO timers (org_id, subject_id, kind, due_at) VALUES ($1, $2, '{ASSIGN}', $3)"  # noqa: S608 - constants

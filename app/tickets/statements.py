"""The SQL of the most frequent operations, without the ORM: reading a ticket, and opening one.

Each statement names `org_id` for every table. Statuses, kinds and the data of events come from the code that defines
them. A ticket's row includes its assignee, so that a response takes one round trip.
"""

from __future__ import annotations

from app.accounts.users.rules import AccountStatus
from app.core.database.intervals import add_interval_sql
from app.core.outbox.numbering import TICK
from app.tickets.assignment.rules import ASSIGN
from app.tickets.assignment.statements import ASSIGNEE_IN_TURN, available_users_sql
from app.tickets.models import TicketStatus

# The columns of `TicketRow`, for tickets `t` joined with `ASSIGNEE`.
COLUMNS = """t.id, t.number, t.org_id, t.title, t.description, t.status, t.priority, t.requester_email,
    t.requester_user_id, t.assignee_id, t.created_at, t.updated_at, t.responded_at, t.closed_at, t.auto_close_at,
    t.accepted_at, t.version, p.email AS assignee_email, p.first_name AS assignee_first_name,
    p.last_name AS assignee_last_name"""
ASSIGNEE = "LEFT JOIN users AS p ON p.org_id = $1 AND p.id = t.assignee_id"

READ = f"SELECT {COLUMNS} FROM tickets AS t {ASSIGNEE} WHERE t.org_id = $1 AND t.id = $2"  # noqa: S608 - constants
READ_OWN = f"{READ} AND t.requester_user_id = $3"
FIND_BY_NUMBER = "SELECT id FROM tickets WHERE org_id = $1 AND number = $2"

_TICK = f"interval '{TICK.microseconds} microseconds'"


def _count_sql(*, account: str, join: str, requester_email: str) -> str:
    """Return the statement that counts a new ticket.

    The counter's row gives the number, and with it the assignee: no row of an assignee is locked. It also gives the
    time, as `numbering.py` does, so that tickets are as old as their numbers say. The row of the requester's account is
    locked: its erasure waits, and then finds the ticket that still has their e-mail.

    Args:
        account: the SQL condition that selects the requester's account by `$2`.
        join: `LEFT`, or `INNER` to open no ticket if there is no account.
        requester_email: the SQL expression of the requester's e-mail address.
    """
    return f"""
    WITH available AS MATERIALIZED (
        {available_users_sql("$1")}
    ), requester AS MATERIALIZED (
        SELECT id, email FROM users WHERE org_id = $1 AND status = '{AccountStatus.ACTIVE}' AND {account} FOR SHARE
    ), counted AS (
        UPDATE counters SET last_number = last_number + 1,
               last_event = last_event + CASE WHEN available.ids IS NULL THEN 1 ELSE 2 END,
               last_at = greatest($3, {add_interval_sql("last_at", _TICK)})
        FROM available {join} JOIN requester ON true WHERE counters.org_id = $1
        RETURNING last_number AS number, last_event, last_at AS at, {ASSIGNEE_IN_TURN} AS assignee_id,
                  requester.id AS requester_user_id, {requester_email} AS requester_email
    )
    SELECT c.*, p.email AS assignee_email, p.first_name AS assignee_first_name, p.last_name AS assignee_last_name
    FROM counted AS c LEFT JOIN users AS p ON p.org_id = $1 AND p.id = c.assignee_id
    """  # noqa: S608 - constants


# For an e-mail address ($2). Which account with that address is the requester's is the rule `is_requesters_account`.
COUNT = _count_sql(account="email = $2 AND email_verified_at IS NOT NULL", join="LEFT", requester_email="$2::text")

# For a signed-in user ($2). Returns no row if they are no longer active.
COUNT_OWN = _count_sql(account="id = $2", join="INNER", requester_email="requester.email")

INSERT = f"""
    INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_email,
                         requester_user_id, assignee_id, created_at, updated_at, version)
    VALUES ($1, $2, $3, $4, $5, '{TicketStatus.OPEN}', $6, $7, $8, $9, $10, $10, 1)
"""  # noqa: S608 - constants
WAIT = f"INSERT INTO timers (org_id, subject_id, kind, due_at) VALUES ($1, $2, '{ASSIGN}', $3)"  # noqa: S608 - constants

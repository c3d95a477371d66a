"""The hot SQL of single tickets, written for the driver: reading one, and opening one.

Each statement names `org_id` for every table. Statuses, kinds and the data of events come from the code that defines
them. A ticket's row includes its assignee, so that a response takes one round trip.
"""

from __future__ import annotations

from functools import cache

from app.accounts.users.rules import AccountStatus
from app.core.outbox.events import SYSTEM
from app.core.outbox.numbering import TICK
from app.tickets.assignment.rules import ASSIGN
from app.tickets.assignment.statements import ASSIGNEE_IN_TURN, available_users_sql
from app.tickets.events import TicketAssigned, TicketCreated
from app.tickets.models import TicketPriority, TicketStatus

# The columns of `TicketRow`, for tickets `t` joined with `ASSIGNEE`.
COLUMNS = """t.id, t.number, t.org_id, t.title, t.description, t.status, t.priority, t.requester_email,
    t.requester_user_id, t.assignee_id, t.created_at, t.updated_at, t.responded_at, t.closed_at, t.auto_close_at,
    t.accepted_at, t.version, p.email AS assignee_email, p.first_name AS assignee_first_name,
    p.last_name AS assignee_last_name"""
ASSIGNEE = "LEFT JOIN users AS p ON p.org_id = $1 AND p.id = t.assignee_id"

READ = f"SELECT {COLUMNS} FROM tickets AS t {ASSIGNEE} WHERE t.org_id = $1 AND t.id = $2"  # noqa: S608 - constants
READ_OWN = f"{READ} AND t.requester_user_id = $3"

# The data of `TicketAssigned` without the assignee, whom the statement chooses.
_ASSIGNED_DATA = TicketAssigned.dump_json_without("assignee_id", previous_assignee_id=None)


@cache
def created_data(priority: TicketPriority) -> str:
    """Return the data of `TicketCreated` without the number, which the statement counts."""
    return TicketCreated.dump_json_without("number", status=TicketStatus.OPEN, priority=priority)


def _open_sql(*, account: str, join: str, requester_email: str) -> str:
    """Return the statement that opens a ticket.

    The counter's row gives the number, and the number decides the assignee, so no assignee's row is locked. The counter
    also gives the time, as in `numbering.py`: the times of tickets follow their numbers. The requester's account is
    locked. A concurrent erasure waits for this statement, and then finds the new ticket by the requester's e-mail.

    Args:
        account: the condition of the requester's account, given `$6`.
        join: `LEFT`, or `INNER` if no ticket is opened without an account.
        requester_email: the requester's e-mail.
    """
    return f"""
    WITH available AS MATERIALIZED (
        {available_users_sql("$1")}
    ), requester AS MATERIALIZED (
        SELECT id, email FROM users WHERE org_id = $1 AND status = '{AccountStatus.ACTIVE}' AND {account} FOR SHARE
    ), counted AS (
        UPDATE counters SET last_number = last_number + 1,
               last_event = last_event + CASE WHEN available.ids IS NULL THEN 1 ELSE 2 END,
               last_at = greatest($7, last_at + interval '{TICK.microseconds} microseconds')
        FROM available {join} JOIN requester ON true WHERE counters.org_id = $1
        RETURNING last_number AS number, last_event, last_at AS at, {ASSIGNEE_IN_TURN} AS assignee_id,
                  requester.id AS requester_user_id, requester.email AS email
    ), opened AS (
        INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_email,
                             requester_user_id, assignee_id, created_at, updated_at, version)
        SELECT $1, $2, number, $3, $4, '{TicketStatus.OPEN}', $5, {requester_email}, requester_user_id, assignee_id,
               at, at, 1
        FROM counted
        RETURNING *
    ), assign_timer AS (
        INSERT INTO timers (org_id, subject_id, kind, due_at)
        SELECT $1, $2, '{ASSIGN}', $8 FROM counted WHERE assignee_id IS NULL
    ), new_events AS (
        INSERT INTO events (org_id, seq, id, type, version, subject_id, actor_type, actor_id, data, created_at)
        SELECT $1::uuid, last_event - (assignee_id IS NOT NULL)::int, $9::uuid, '{TicketCreated.type}',
               {TicketCreated.version}, $2::uuid, $11, $12::uuid,
               $13::jsonb || jsonb_build_object('{TicketCreated.get_stored_name("number")}', number), at
        FROM counted
        UNION ALL
        SELECT $1, last_event, $10::uuid, '{TicketAssigned.type}', {TicketAssigned.version}, $2, '{SYSTEM.type}', NULL,
               '{_ASSIGNED_DATA}'::jsonb
                   || jsonb_build_object('{TicketAssigned.get_stored_name("assignee_id")}', assignee_id), at
        FROM counted WHERE assignee_id IS NOT NULL
    )
    SELECT {COLUMNS} FROM opened AS t {ASSIGNEE}
    """  # noqa: S608 - constants


# For an e-mail address ($6). The rule `is_requesters_account` decides whether an account with it is the requester's.
OPEN = _open_sql(account="email = $6 AND email_verified_at IS NOT NULL", join="LEFT", requester_email="$6")

# For a signed-in user ($6), with their current e-mail address. Returns no row if they are no longer active.
OPEN_OWN = _open_sql(account="id = $6", join="INNER", requester_email="email")

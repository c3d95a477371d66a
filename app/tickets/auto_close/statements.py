"""SQL of auto-close: the statement that closes many tickets."""

from __future__ import annotations

from sqlalchemy import Interval, SmallInteger, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from app.core.database.intervals import add_interval_sql
from app.core.outbox.events import SYSTEM
from app.core.outbox.numbering import TICK
from app.tickets.auto_close.rules import AUTO_CLOSE
from app.tickets.events import TicketStatusChanged
from app.tickets.models import TicketStatus

_INSTANT = TIMESTAMP(timezone=True)
_IDS = ARRAY(Uuid)
# Of a ticket in `closing`, less one tick for each ticket up to it: the latest such time so far.
_TIME_BEFORE_FIRST = (
    f"greatest(before.last_at, max({add_interval_sql('closes_at', '-place * :tick')}) OVER (ORDER BY place))"
)

# Claims due timers of locked tickets, and closes the tickets. Does what `Ticket.move_to` and `Ticket.count_change` do,
# for many tickets in one statement.
#
# A ticket that is no longer RESPONDED has no timer to delete. Without `now`, each ticket closes at its `auto_close_at`.
# Events and rows get numbers and times as in `numbering.py`: each after the one before, and the first after the
# previous commit. The counter is locked last, since the tickets are locked already. Rows are found by arrays of their
# ids and not by joins: joins get bad plans while the planner's statistics lag behind.
CLOSE = text(
    f"""
    WITH fired AS (
        DELETE FROM timers
        WHERE org_id = :org_id AND kind = :kind AND subject_id = ANY(:ids) AND due_at <= :latest
        RETURNING subject_id
    ), closing AS (
        SELECT id, closes_at, row_number() OVER (ORDER BY closes_at, number) AS place
        FROM (
            SELECT id, number, coalesce(:now, auto_close_at) AS closes_at FROM tickets
            WHERE org_id = :org_id AND id = ANY(ARRAY(SELECT subject_id FROM fired)) AND status = :from_status
        ) AS responded
    ), before AS MATERIALIZED (
        SELECT last_event, last_at FROM counters WHERE org_id = :org_id FOR NO KEY UPDATE
    ), dated AS MATERIALIZED (
        SELECT id, closes_at, before.last_event + place AS seq, place,
               {add_interval_sql(_TIME_BEFORE_FIRST, "place * :tick")} AS at
        FROM closing, before
    ), counter AS (
        UPDATE counters SET last_event = ended.seq, last_at = ended.at
        FROM (SELECT max(seq) AS seq, max(at) AS at FROM dated) AS ended
        WHERE org_id = :org_id AND ended.seq IS NOT NULL
    ), ids AS MATERIALIZED (
        SELECT array_agg(id ORDER BY place) AS id, array_agg(at ORDER BY place) AS at,
               array_agg(closes_at ORDER BY place) AS closes_at
        FROM dated
    ), closed AS (
        UPDATE tickets SET status = :to_status, auto_close_at = NULL, version = version + 1,
               closed_at = coalesce(ids.closes_at[array_position(ids.id, tickets.id)]),
               updated_at = coalesce(ids.at[array_position(ids.id, tickets.id)])
        FROM ids WHERE tickets.org_id = :org_id AND tickets.id = ANY(ARRAY(SELECT id FROM dated))
    ), happened AS (
        INSERT INTO events (org_id, seq, id, type, version, subject_id, actor_type, data, created_at)
        SELECT :org_id, seq, (:event_ids)[place], :type, :version, id, :actor_type, CAST(:data AS jsonb), at FROM dated
        RETURNING seq
    )
    SELECT subject_id FROM fired
    """  # noqa: S608 - constants
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=_IDS),
    bindparam("latest", type_=_INSTANT),
    bindparam("now", type_=_INSTANT),
    bindparam("event_ids", type_=_IDS),
    bindparam("kind", AUTO_CLOSE, type_=Text),
    bindparam("from_status", TicketStatus.RESPONDED.value, type_=Text),
    bindparam("to_status", TicketStatus.CLOSED.value, type_=Text),
    bindparam("tick", TICK, type_=Interval),
    bindparam("type", TicketStatusChanged.type, type_=Text),
    bindparam("version", TicketStatusChanged.version, type_=SmallInteger),
    bindparam("actor_type", SYSTEM.type.value, type_=Text),
    bindparam(
        "data",
        TicketStatusChanged.dump_json(
            from_status=TicketStatus.RESPONDED, to_status=TicketStatus.CLOSED, reason=AUTO_CLOSE
        ),
        type_=Text,
    ),
)

"""The schedule of a ticket over HTTP."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response

from app.access.services import get_services
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.tickets.auto_close.rules import AUTO_CLOSE, AUTO_CLOSE_REMINDER, auto_close_reason
from app.tickets.errors import TicketNotFound
from app.tickets.http import TicketId, TicketReader, json_response
from app.tickets.queries import requester_scope
from app.tickets.schedule.queries import read_schedule
from app.tickets.schedule.schemas import TicketSchedule, make_action_id

router = APIRouter(prefix="/tickets", tags=["Tickets"], route_class=Route)


@router.get(
    "/{id}/schedule",
    operation_id="getTicketSchedule",
    summary="List what will happen to a ticket automatically",
    response_model=TicketSchedule,
    responses=responses(TicketNotFound),
)
async def get_schedule(ticket_id: TicketId, caller: TicketReader, request: Request) -> Response:
    """List what will happen to the ticket as time passes on the organisation's clock."""
    async with get_services(request).database.driver(caller.org_id) as driver:
        timers = await read_schedule(driver, caller.org_id, ticket_id, requester_scope(caller))
    due = {timer["kind"]: caller.tenant.organisation_time(timer["due_at"]) for timer in timers}
    items = []
    if AUTO_CLOSE in due:
        responded_at, remind_at = timers[0]["responded_at"], due.get(AUTO_CLOSE_REMINDER)
        reason = auto_close_reason(responded_at, due[AUTO_CLOSE], remind_at, ZoneInfo(caller.tenant.timezone))
        items.append(
            {
                "id": make_action_id(ticket_id, AUTO_CLOSE),
                "kind": AUTO_CLOSE,
                "dueAt": due[AUTO_CLOSE],
                "reason": reason,
            }
        )
    return json_response({"items": items})

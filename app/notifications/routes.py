"""The notification log over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request

from app.access.callers import Caller
from app.access.permissions import Action, Resource
from app.access.requirements import Db, may, secret_key_of
from app.core.web.openapi import answers
from app.core.web.paging import CursorSigner, InvalidCursor, cut
from app.core.web.routing import Route
from app.notifications import queries
from app.notifications.queries import NotificationNotFound
from app.notifications.schemas import Notification, NotificationDetails, NotificationFilter, NotificationPage

router = APIRouter(prefix="/notifications", tags=["Notifications"], route_class=Route)

Reader = Annotated[Caller, may(Resource.NOTIFICATIONS, Action.VIEW)]


@router.get(
    "",
    operation_id="listNotifications",
    summary="List what was sent, to whom, and what became of it",
    response_model_exclude_unset=True,
    responses=answers(InvalidCursor),
)
async def list_notifications(
    wanted: Annotated[NotificationFilter, Query()], caller: Reader, db: Db, request: Request
) -> NotificationPage:
    """A page of the notification log, newest first. `QUEUED` ones are still tried; `FAILED` ones are not."""
    listing = queries.Listing(statuses=wanted.status, ticket_ids=wanted.ticket_id)
    signer = CursorSigner.of(secret_key_of(request), caller.org_id, "notifications", listing)
    after = None
    if wanted.cursor:
        at, delivery_id = signer.read(wanted.cursor)
        after = (datetime.fromisoformat(at), UUID(delivery_id))
    rows, more = cut(await queries.page(db, caller.org_id, listing, after, wanted.limit + 1), wanted.limit)
    page = NotificationPage(
        items=[Notification.of(row) for row in rows],
        next_cursor=signer.write(rows[-1].created_at, rows[-1].id) if more else None,
    )
    if wanted.include:
        page.total = await queries.total(db, caller.org_id, listing)
    return page


@router.get(
    "/{id}",
    operation_id="getNotification",
    summary="Read one notification with its body",
    responses=answers(NotificationNotFound),
)
async def get_notification(
    notification_id: Annotated[UUID, Path(alias="id")], caller: Reader, db: Db
) -> NotificationDetails:
    """What was sent, word for word, with the last error if there was one."""
    return NotificationDetails.of(await queries.one(db, caller.org_id, notification_id))

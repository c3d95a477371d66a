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
from app.notifications.errors import NotificationNotFound
from app.notifications.schemas import NotificationFilter, NotificationOut, NotificationPage, NotificationWithBody

router = APIRouter(prefix="/notifications", tags=["Notifications"], route_class=Route)

Reader = Annotated[Caller, may(Resource.NOTIFICATIONS, Action.VIEW)]


@router.get(
    "",
    operation_id="listNotifications",
    summary="List notifications",
    response_model_exclude_unset=True,
    responses=answers(InvalidCursor),
)
async def list_notifications(
    wanted: Annotated[NotificationFilter, Query()], caller: Reader, db: Db, request: Request
) -> NotificationPage:
    """Return a page of the log of mails, newest first. `QUEUED` mails are still tried; `FAILED` ones are not."""
    listing = queries.Listing(statuses=wanted.status, ticket_ids=wanted.ticket_id)
    signer = CursorSigner.of(secret_key_of(request), caller.org_id, "notifications", listing)
    after = None
    if wanted.cursor:
        at, delivery_id = signer.read(wanted.cursor)
        after = (datetime.fromisoformat(at), UUID(delivery_id))
    rows, more = cut(await queries.page(db, caller.org_id, listing, after, wanted.limit + 1), wanted.limit)
    page = NotificationPage(
        items=[NotificationOut.of(row) for row in rows],
        next_cursor=signer.write(rows[-1].created_at, rows[-1].id) if more else None,
    )
    if wanted.include:
        page.total = await queries.total(db, caller.org_id, listing)
    return page


@router.get(
    "/{id}",
    operation_id="getNotification",
    summary="Get a notification",
    responses=answers(NotificationNotFound),
)
async def get_notification(
    notification_id: Annotated[UUID, Path(alias="id")], caller: Reader, db: Db
) -> NotificationWithBody:
    """Return a mail with its body as it was sent, and the last error if there was one."""
    return NotificationWithBody.of_content(await queries.one(db, caller.org_id, notification_id))

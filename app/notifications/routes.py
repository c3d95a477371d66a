"""Operations on the notification log."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.access.callers import UserCaller
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import Db
from app.access.user_permissions import Action, Resource
from app.core.web.openapi import responses
from app.core.web.paging import InvalidCursor, Paging
from app.core.web.routing import Route
from app.notifications import queries
from app.notifications.errors import NotificationNotFound
from app.notifications.schemas import Notification, NotificationDetails, NotificationListQuery, NotificationPage

router = APIRouter(prefix="/notifications", tags=["Notifications"], route_class=Route)

Reader = Annotated[UserCaller, requires(Resource.NOTIFICATIONS, Action.VIEW)]


@router.get(
    "",
    operation_id="listNotifications",
    summary="List notifications",
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_notifications(
    list_query: Annotated[NotificationListQuery, Query()],
    caller: Reader,
    db: Db,
    request: Request,
    response: Response,
) -> NotificationPage:
    """Return a page of the log of mails, newest first.

    `QUEUED` mails will be sent; `FAILED` ones will not be tried again.
    """
    filters = list_query.values()
    paging = Paging.of(
        request, list_query, get_services(request).secret_key, caller.org_id, "notifications", filters=filters
    )
    after = paging.after(lambda at, id_: (datetime.fromisoformat(at), UUID(id_)))
    rows = await queries.list_entries(db, caller.org_id, list_query, after, paging.fetch_limit)
    total = await queries.count_entries(db, caller.org_id, list_query) if list_query.include else None
    represent = partial(Notification.of, permissions=caller.user.permissions)
    return paging.page(
        response, NotificationPage, rows, represent, position=lambda row: (row.created_at, row.id), total=total
    )


@router.get(
    "/{id}",
    operation_id="getNotification",
    summary="Get a notification",
    responses=responses(NotificationNotFound),
)
async def get_notification(
    notification_id: Annotated[UUID, Path(alias="id")], caller: Reader, db: Db
) -> NotificationDetails:
    """Return a mail with its body, and its last error if there was one. Tokens of links are hidden.

    The texts are shown only to users who may read what they are about: see `subject` and `body`.
    """
    content = await queries.get_entry(db, caller.org_id, notification_id)
    return NotificationDetails.of_content(content, caller.user.permissions)

"""The filters of the notification log: each is declared once, as a field of `NotificationFilters` with its operator."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.core.database.filters import ColumnIsIn, Filters
from app.core.outbox.models import Delivery, DeliveryStatus
from app.notifications.models import Mail


class NotificationFilters(Filters):
    """Select notifications. A repeated filter matches any of its values."""

    status: Annotated[
        list[DeliveryStatus], ColumnIsIn(Delivery.status), Field(max_length=10, description="Statuses.")
    ] = []
    ticket_id: Annotated[
        list[UUID], ColumnIsIn(Mail.ticket_id), Field(max_length=20, description="Ids of tickets.")
    ] = []

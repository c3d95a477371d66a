"""Reads of the notification log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from app.core.errors import NotFound
from app.core.outbox.models import Delivery


class NotificationNotFound(NotFound):
    """No notification of the caller's organisation has this id."""

    code = "notification_not_found"
    title = "There is no such notification."


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which notifications. Empty filters hold for all."""

    statuses: Sequence[str] = ()
    ticket_ids: Sequence[UUID] = ()

    def conditions(self, org_id: UUID) -> list[ColumnElement[bool]]:
        """What a row must meet."""
        conditions = [Delivery.org_id == org_id]
        if self.statuses:
            conditions.append(Delivery.status.in_(self.statuses))
        if self.ticket_ids:
            conditions.append(Delivery.ticket_id.in_(self.ticket_ids))
        return conditions


async def page(
    db: AsyncSession, org_id: UUID, wanted: Listing, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Delivery]:
    """The notifications that follow the position `after`, newest first, without their bodies."""
    statement = (
        select(Delivery)
        .options(defer(Delivery.body_text, raiseload=True), defer(Delivery.body_html, raiseload=True))
        .where(*wanted.conditions(org_id))
        .order_by(Delivery.created_at.desc(), Delivery.id.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(Delivery.created_at, Delivery.id) < after)
    return (await db.scalars(statement)).all()


async def total(db: AsyncSession, org_id: UUID, wanted: Listing) -> int:
    """How many match."""
    return await db.scalar(select(func.count()).select_from(Delivery).where(*wanted.conditions(org_id))) or 0


async def one(db: AsyncSession, org_id: UUID, delivery_id: UUID) -> Delivery:
    """A notification with its body.

    Raises:
        NotificationNotFound
    """
    delivery = await db.get(Delivery, (org_id, delivery_id))
    if delivery is None:
        raise NotificationNotFound
    return delivery

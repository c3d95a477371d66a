"""Queries of requesters."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.filters import make_conditions
from app.requesters.filters import RequesterFilters
from app.requesters.models import Requester


def select_requester_ids(org_id: UUID, user_id: UUID) -> Select[UUID]:
    """Select the ids of an account's requesters."""
    return select(Requester.id).where(Requester.org_id == org_id, Requester.user_id == user_id)


def select_merged_ids(org_id: UUID, requester_id: UUID) -> Select[UUID]:
    """Select the ids of a requester and of those that were merged into it."""
    return select(Requester.id).where(
        Requester.org_id == org_id, or_(Requester.id == requester_id, Requester.merged_into_id == requester_id)
    )


async def list_page(
    db: AsyncSession, org_id: UUID, filters: RequesterFilters, *, after: UUID | None, limit: int
) -> Sequence[Requester]:
    """List the requesters that match and were made before the requester `after`, newest first."""
    statement = select(Requester).where(*_conditions(org_id, filters)).order_by(Requester.id.desc()).limit(limit)
    return (await db.scalars(statement if after is None else statement.where(Requester.id < after))).all()


async def count(db: AsyncSession, org_id: UUID, filters: RequesterFilters) -> int:
    """Count the requesters that match."""
    return await db.scalar(select(func.count()).select_from(Requester).where(*_conditions(org_id, filters))) or 0


def _conditions(org_id: UUID, filters: RequesterFilters) -> list[ColumnElement[bool]]:
    """Return the conditions of the requesters that a list shows: neither merged into another one nor erased."""
    is_listed = (Requester.merged_into_id.is_(None), Requester.erased_at.is_(None))
    return [Requester.org_id == org_id, *is_listed, *make_conditions(org_id, filters)]

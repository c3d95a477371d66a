"""Reads of what invitations are about."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.organisations.models import Organisation
from app.organisations.queries import as_tenant
from app.organisations.tenant import Tenant


async def active_tenant(db: AsyncSession, org_id: UUID) -> Tenant | None:
    """The organisation, unless it is suspended."""
    organisation = await db.scalar(
        select(Organisation).where(Organisation.id == org_id, Organisation.status == "ACTIVE")
    )
    return as_tenant(organisation) if organisation else None

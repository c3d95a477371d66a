"""Queries of organisations."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.tenant import Tenant
from app.core.database.pool import Database
from app.core.errors import NotFound
from app.organisations.errors import OrganisationNotFound
from app.organisations.models import Organisation, OrganisationStatus
from app.organisations.statements import FIND_BY_SECRET_HASH, IS_LISTED_ORIGIN, TENANT_FIELDS


async def get_tenant(db: AsyncSession, org_id: UUID) -> Tenant:
    """Return an organisation, even if it is suspended.

    Raises:
        NotFound
    """
    organisation = await db.get(Organisation, org_id)
    if organisation is None:
        raise NotFound
    return as_tenant(organisation)


async def find_active(db: AsyncSession, org_id: UUID) -> Tenant | None:
    """Return an organisation; `None` if it is suspended."""
    organisation = await db.scalar(
        select(Organisation).where(Organisation.id == org_id, Organisation.status == OrganisationStatus.ACTIVE)
    )
    return as_tenant(organisation) if organisation else None


async def get_by_domain(db: AsyncSession, domain: str) -> Tenant:
    """Return the active organisation with this domain.

    Raises:
        OrganisationNotFound
    """
    organisation = await db.scalar(
        select(Organisation).where(Organisation.domain == domain, Organisation.status == OrganisationStatus.ACTIVE)
    )
    if organisation is None:
        raise OrganisationNotFound
    return as_tenant(organisation)


async def lock_organisation(db: AsyncSession, org_id: UUID, *, shared: bool = False) -> None:
    """Lock the organisation until the transaction ends, to serialise changes of its roles, menus, settings and clock.

    It must be the transaction's first lock. It is an advisory lock, whose key is the random part of the id: on Citus, a
    lock of one row of a directory table locks the rows of all organisations.

    Args:
        shared: only keep out transactions that lock it exclusively.
    """
    function = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    await db.execute(select(function(int.from_bytes(org_id.bytes[8:], signed=True))))


async def find_by_secret_hash(database: Database, secret_hash: bytes) -> Tenant | None:
    """Return the active organisation whose secret key has this hash and is not revoked."""
    row = await database.fetch_row(FIND_BY_SECRET_HASH, secret_hash)
    return Tenant(**row) if row else None


async def is_listed_origin(database: Database, origin: str) -> bool:
    """Return whether any active organisation allows browsers of an origin."""
    return await database.fetch_row(IS_LISTED_ORIGIN, origin) is not None


def as_tenant(organisation: Organisation) -> Tenant:
    """Return the part of the row that rules read."""
    return Tenant(**{name: getattr(organisation, name) for name in TENANT_FIELDS})

"""Reads of organisations."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.tenant import Tenant
from app.core.errors import NotFound
from app.organisations.models import Organisation, OrganisationSecret, OrganisationStatus


class OrganisationNotFound(NotFound):
    """No organisation has signed up with this domain."""

    code = "organisation_not_found"
    title = "There is no organisation with this domain."


async def tenant(db: AsyncSession, org_id: UUID) -> Tenant:
    """The organisation as jobs need it.

    Raises:
        NotFound: it is gone.
    """
    organisation = await db.get(Organisation, org_id)
    if organisation is None:
        raise NotFound
    return as_tenant(organisation)


async def active(db: AsyncSession, org_id: UUID) -> Tenant | None:
    """The organisation, unless it is suspended."""
    organisation = await db.scalar(
        select(Organisation).where(Organisation.id == org_id, Organisation.status == OrganisationStatus.ACTIVE)
    )
    return as_tenant(organisation) if organisation else None


async def by_domain(db: AsyncSession, domain: str) -> Tenant:
    """The active organisation with this domain.

    Raises:
        OrganisationNotFound
    """
    organisation = await db.scalar(
        select(Organisation).where(Organisation.domain == domain, Organisation.status == OrganisationStatus.ACTIVE)
    )
    if organisation is None:
        raise OrganisationNotFound
    return as_tenant(organisation)


async def lock(db: AsyncSession, org_id: UUID, *, shared: bool = False) -> None:
    """Have the changes of something that the organisation has few of happen one after the other.

    It is the transaction's first lock. Rows that refer to the organisation can still be written meanwhile.

    Args:
        shared: only keep such changes off until this transaction ends; others that do so are not held up.
    """
    which = select(Organisation.id).where(Organisation.id == org_id)
    await db.execute(which.with_for_update(read=shared, key_share=not shared))


async def find_by_secret_hash(db: AsyncSession, secret_hash: bytes) -> Tenant | None:
    """Find the active organisation whose secret key has this hash and is not revoked."""
    organisation = await db.scalar(
        select(Organisation)
        .join(OrganisationSecret, OrganisationSecret.org_id == Organisation.id)
        .where(
            OrganisationSecret.hash == secret_hash,
            OrganisationSecret.revoked_at.is_(None),
            Organisation.status == OrganisationStatus.ACTIVE,
        )
    )
    return as_tenant(organisation) if organisation else None


def as_tenant(organisation: Organisation) -> Tenant:
    """The part of the row that rules read."""
    return Tenant(
        id=organisation.id,
        name=organisation.name,
        domain=organisation.domain,
        sandbox=organisation.sandbox,
        clock_offset=organisation.clock_offset,
        auto_close_days=organisation.auto_close_days,
        timezone=organisation.timezone,
        support_email=organisation.support_email,
        app_url=organisation.app_url,
        require_2fa=organisation.require_2fa,
    )

"""References: a ticket's number as users write it, such as `GROWFIN-42`."""

from __future__ import annotations

from app.access.tenant import Tenant
from app.organisations.rules import derive_reference_prefix


def make_reference(tenant: Tenant, number: int) -> str:
    """Return the reference of a ticket: the prefix of its organisation, and its number."""
    return f"{reference_prefix(tenant)}-{number}"


def reference_prefix(tenant: Tenant) -> str:
    """Return the first part of an organisation's references.

    It is made from the domain. If the domain has changed, it is the one of the first domain, since users know it.
    """
    return tenant.reference_prefix or derive_reference_prefix(tenant.domain)

"""The SQL that resolves a secret key, without the ORM: requests of many organisations find few of them in the cache."""

from __future__ import annotations

from dataclasses import fields

from app.access.tenant import Tenant
from app.organisations.models import OrganisationStatus

# The columns of an organisation `o` that rules read, by the names of the fields of `Tenant`.
TENANT_FIELDS = tuple(field.name for field in fields(Tenant))
TENANT_COLUMNS = ", ".join(f"o.{name}" for name in TENANT_FIELDS)

# For an origin ($1): whether any organisation allows its browsers.
IS_LISTED_ORIGIN = f"""
    SELECT 1 FROM organisations
    WHERE (app_origin = $1 OR allowed_origins @> ARRAY[$1]) AND status = '{OrganisationStatus.ACTIVE}' LIMIT 1
"""  # noqa: S608 - constants

# For the hash of a secret key ($1).
FIND_BY_SECRET_HASH = f"""
    SELECT {TENANT_COLUMNS} FROM secret_keys AS k JOIN organisations AS o ON o.id = k.org_id
    WHERE k.hash = $1 AND k.revoked_at IS NULL AND o.status = '{OrganisationStatus.ACTIVE}'
"""  # noqa: S608 - constants

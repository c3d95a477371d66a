"""The SQL that resolves an access token, without the ORM: requests of many users find few of them in the cache."""

from __future__ import annotations

from app.accounts.users.rules import AccountStatus
from app.organisations.models import OrganisationStatus
from app.organisations.statements import TENANT_COLUMNS

# The columns of a user that a principal is made of.
USER_FIELDS = ("email", "first_name", "last_name", "role_kind", "role_id", "granted", "denied", "second_factor")
_USER_COLUMNS = ", ".join(f"u.{name}" for name in USER_FIELDS)

# For an organisation ($1), a user ($2), and their session ($3), unless it has ended at a (real) time ($4), which is the
# rule `Session.not_expired_condition`.
FIND_PRINCIPAL = f"""
    SELECT {TENANT_COLUMNS}, {_USER_COLUMNS}, r.name AS role_name, r.permissions AS role_permissions, s.remembered,
           coalesce(s.reauthenticated_at, s.created_at) AS authenticated_at
    FROM users AS u
    JOIN organisations AS o ON o.id = $1
    JOIN sessions AS s ON s.org_id = $1 AND s.id = $3 AND s.user_id = u.id AND s.expires_at > $4
    LEFT JOIN roles AS r ON r.org_id = $1 AND r.id = u.role_id
    WHERE u.org_id = $1 AND u.id = $2 AND u.status = '{AccountStatus.ACTIVE}'
          AND o.status = '{OrganisationStatus.ACTIVE}'
"""  # noqa: S608 - constants

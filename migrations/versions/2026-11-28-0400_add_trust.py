"""Add the time of a repeated authentication to sessions, where a link was requested from, and unconfirmed front ends.

An `app_url` that a user who is no admin has set is kept apart, because links in mails lead to it, until an admin
confirms it. One that no event tells of was set by the operator, and stays.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
import structlog
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
# Versions before this one let users set `app_url` who are no admins.
oldest_supported = "0008"

log = structlog.get_logger("tessera.migrations")

_SETTER = sa.text(
    """
    SELECT u.role_kind FROM events AS e
    LEFT JOIN users AS u ON u.org_id = e.org_id AND u.id = e.actor_id
    WHERE e.org_id = :org_id AND e.type = 'organisation.updated' AND e.data -> 'changes' -> 'appUrl' IS NOT NULL
    ORDER BY e.seq DESC LIMIT 1
    """
)
_SET_ASIDE = sa.text(
    "UPDATE organisations SET unconfirmed_app_url = app_url, app_url = NULL, app_origin = NULL WHERE id = :org_id"
)


def upgrade() -> None:
    # Before the changes below, which lock tables that every request reads.
    unconfirmed = _find_unconfirmed(op.get_bind())
    op.add_column("sessions", sa.Column("reauthenticated_at", sa.DateTime(timezone=True)))
    op.add_column("links", sa.Column("requested_from", sa.Text()))
    op.add_column("organisations", sa.Column("unconfirmed_app_url", sa.Text()))
    for org_id in unconfirmed:
        log.warning("app_url_unconfirmed", org_id=str(org_id), hint="An admin must send it with PATCH /org again.")
        op.get_bind().execute(_SET_ASIDE, {"org_id": org_id})


def _find_unconfirmed(connection: sa.Connection) -> list[UUID]:
    """Find the organisations whose `app_url` a user has set who is no admin. Events are read newest first, by index."""
    found = []
    # One organisation at a time: the owner, too, sees only rows of the organisation of its transaction.
    for org_id in connection.scalars(sa.text("SELECT id FROM organisations WHERE app_url IS NOT NULL")).all():
        connection.execute(sa.text(f"SET LOCAL app.org_id = '{org_id}'"))
        setter = connection.execute(_SETTER, {"org_id": org_id}).first()
        if setter is not None and setter.role_kind != "ADMIN":
            found.append(org_id)
    return found


def downgrade() -> None:
    op.execute(
        "UPDATE organisations SET app_url = unconfirmed_app_url, "
        "app_origin = substring(unconfirmed_app_url FROM '^[^/]+//[^/]+') "
        "WHERE app_url IS NULL AND unconfirmed_app_url IS NOT NULL"
    )
    op.drop_column("organisations", "unconfirmed_app_url")
    op.drop_column("links", "requested_from")
    op.drop_column("sessions", "reauthenticated_at")

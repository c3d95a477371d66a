"""Who works on tickets: noted with each person, so that new ones go only to who may see and change them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

AVAILABLE = "ix_people_available"
# Under row level security, which binds the owner, too, there is nobody.
PROTECTED = ("people", "roles")

# Each built-in role gives both. It counts both ways, since between a run that broke off and this one roles may change.
WHO_WORKS = """
    WITH weighed AS (
        SELECT p.org_id, p.id,
               (coalesce(r.permissions, needed.permissions) || p.granted) @> needed.permissions
               AND NOT (p.denied && needed.permissions) AS works
        FROM (SELECT ARRAY['tickets:view', 'tickets:update'] AS permissions) AS needed, people AS p
             LEFT JOIN roles AS r ON r.org_id = p.org_id AND r.id = p.role_id
    )
    UPDATE people SET works_on_tickets = works FROM weighed
    WHERE people.org_id = weighed.org_id AND people.id = weighed.id AND works_on_tickets <> works
"""
# What they have already is taken from them by the worker, as from whoever is denied it from now on.
HAND_OVER = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, 'HAND_OVER', now() FROM people
    WHERE NOT works_on_tickets AND status = 'ACTIVE' AND role <> 'CUSTOMER'
    ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    op.add_column(
        "people",
        sa.Column("works_on_tickets", sa.Boolean(), server_default=sa.true(), nullable=False),
        if_not_exists=True,
    )
    for table in PROTECTED:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(WHO_WORKS)
    op.execute(HAND_OVER)
    for table in PROTECTED:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    _index("available AND works_on_tickets AND status = 'ACTIVE' AND role <> 'CUSTOMER'")


def downgrade() -> None:
    op.execute("DELETE FROM timers WHERE kind = 'HAND_OVER_OF_ROLE'")
    _index("available AND status = 'ACTIVE' AND role <> 'CUSTOMER'")
    op.drop_column("people", "works_on_tickets")


def _index(predicate: str) -> None:
    with op.get_context().autocommit_block():
        # The one for the version before; or one that a build which was broken off has left.
        op.drop_index(AVAILABLE, "people", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            AVAILABLE,
            "people",
            ["org_id", "role", "id"],
            postgresql_where=sa.text(predicate),
            postgresql_concurrently=True,
        )

"""Whether the tables have their places on the nodes of Citus, where `tessera migrate` puts them."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.citus import (
    DATABASE_SETTINGS,
    FIRST_TABLE,
    find_distributed_tables,
    find_reference_tables,
)

_PLACES = text(
    """
    SELECT CAST(table_name AS text) AS name, citus_table_type AS type, distribution_column AS key, colocation_id
    FROM citus_tables
    """
)
# Of the database, for all roles: `name=value`.
_SETTINGS = text(
    """
    SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
    WHERE datname = current_database() AND setrole = 0
    """
)


async def find_distribution_problem(db: AsyncSession) -> str | None:
    """Describe what is wrong with the distribution, with the remedy; `None` if nothing is."""
    places = {row.name: (row.type, row.key, row.colocation_id) for row in await db.execute(_PLACES)}
    group = places.get(FIRST_TABLE, (None, None, None))[2]
    wrong = [name for name in find_distributed_tables() if places.get(name) != ("distributed", "org_id", group)]
    wrong += [name for name in find_reference_tables() if places.get(name, (None,))[0] != "reference"]
    if wrong:
        return (
            f"not on the nodes as they must be: {', '.join(wrong)}: stop the service and run `tessera migrate`; undo "
            "first what was distributed by hand, with undistribute_table()"
        )
    found = set((await db.scalars(_SETTINGS)).all())
    lacking = [f"{name} = '{value}'" for name, value in DATABASE_SETTINGS.items() if f"{name}={value}" not in found]
    if lacking:
        return f"the database lacks the settings {', '.join(lacking)}: run `tessera migrate`"
    return None

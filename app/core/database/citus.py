"""Distribution of the tables over the nodes of Citus, by organisation. A database without the extension is not changed.

The directory tables become reference tables, which every node has. All other tables with `org_id` are distributed by
it, in one colocation group, so that a transaction of an organisation stays on one node.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from app.core.database.base import Base, TableKind, find_tables

FIRST_TABLE = "counters"  # the others are colocated with it
LOCK_TIMEOUT = "5s"
# The settings of the database, which Citus hands on to the connections between its nodes. `SET LOCAL app.org_id` must
# reach them for row level security; the service's own settings of a connection do not.
DATABASE_SETTINGS = {"citus.propagate_set_commands": "local", "lock_timeout": LOCK_TIMEOUT}

IS_INSTALLED = text("SELECT to_regclass('citus_tables') IS NOT NULL")
_IS_PLACED = text("SELECT count(*) > 0 FROM citus_tables WHERE table_name = CAST(:table AS regclass)")
_HAS_FORCED_RLS = text("SELECT relforcerowsecurity FROM pg_class WHERE oid = CAST(:table AS regclass)")
_DISTRIBUTE = text(
    "SELECT create_distributed_table(CAST(:table AS regclass), 'org_id', colocate_with => CAST(:colocate_with AS text))"
)
_MAKE_REFERENCE = text("SELECT create_reference_table(CAST(:table AS regclass))")
_KEEP_LOCAL_TABLES = text("SET LOCAL citus.enable_local_reference_table_foreign_keys TO off")


def has_citus(connection: Connection) -> bool:
    """Return whether the database has the extension."""
    return bool(connection.scalar(IS_INSTALLED))


def distribute(connection: Connection, table: str) -> None:
    """Distribute a table by `org_id`, with its rows. On a database without Citus, and the second time, do nothing.

    A migration calls it right after it has created the table, and before it adds a foreign key to it.
    """
    if not _must_place(connection, table):
        return
    is_forced = connection.scalar(_HAS_FORCED_RLS, {"table": table})
    if is_forced:  # the owner moves the rows of all organisations
        connection.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))
    colocate_with = "none" if table == FIRST_TABLE else FIRST_TABLE
    connection.execute(_DISTRIBUTE, {"table": table, "colocate_with": colocate_with})
    if is_forced:
        connection.execute(text(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"))


def make_reference(connection: Connection, table: str) -> None:
    """Copy a directory table to all nodes. On a database without Citus, and the second time, do nothing."""
    if _must_place(connection, table):
        connection.execute(_MAKE_REFERENCE, {"table": table})


def distribute_all(connection: Connection) -> None:
    """Distribute all tables that are not distributed yet, and set the settings of the database.

    The service must be stopped if the tables hold rows. Call it when all models are imported (`app/models.py`).
    """
    if not has_citus(connection):
        return
    for table in find_reference_tables():
        make_reference(connection, table)
    for table in find_distributed_tables():
        distribute(connection, table)
    name = connection.dialect.identifier_preparer.quote(str(connection.scalar(text("SELECT current_database()"))))
    for setting, value in DATABASE_SETTINGS.items():
        connection.execute(text(f"ALTER DATABASE {name} SET {setting} = '{value}'"))


def find_reference_tables() -> list[str]:
    """Return the tables that every node has, those that others refer to first."""
    return _sort(find_tables(TableKind.DIRECTORY))


def find_distributed_tables() -> list[str]:
    """Return the tables that are distributed, those that others refer to first; `FIRST_TABLE` is the first."""
    names = _sort(find_tables(TableKind.TENANT, TableKind.UNPROTECTED_TENANT, TableKind.SIGN_IN))
    return [FIRST_TABLE, *(name for name in names if name != FIRST_TABLE)]


def _sort(names: frozenset[str]) -> list[str]:
    return [table.name for table in Base.metadata.sorted_tables if table.name in names]


def _must_place(connection: Connection, table: str) -> bool:
    if not has_citus(connection) or connection.scalar(_IS_PLACED, {"table": table}):
        return False
    connection.execute(_KEEP_LOCAL_TABLES)
    return True

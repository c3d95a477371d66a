"""How Alembic connects: as the owner of the tables, in one transaction per migration, never waiting long for a lock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Literal

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.config import InvalidSettings, load_settings
from app.core.database import pooler
from app.core.database.base import TextEnum
from app.core.database.citus import distribute_all
from app.core.database.revisions import SupportedRevision, write_supported_revisions
from app.models import Base

# Serialises concurrent migrations; the number is arbitrary.
ADVISORY_LOCK = 8_377_327_225
LOCK_POLL_INTERVAL = 0.1  # seconds
READ_ONLY = ("alembic_version", SupportedRevision.__tablename__)


def _url() -> str:
    given = context.config.attributes.get("url")
    if given:
        return str(given)
    settings = load_settings()
    url = settings.migrations_database_url or settings.database_url
    if url is None:
        raise SystemExit("DATABASE_URL: needed to migrate; for the embedded database use `tessera migrate`")
    return url


def _migrate(connection: Connection) -> None:
    if pooler.is_behind_pooler(connection):  # which may lose the lock between two transactions
        raise InvalidSettings(f"MIGRATIONS_DATABASE_URL: {pooler.PROBLEM}: migrate on PostgreSQL directly")
    # Wait for another migration without a limit, but for a lock on a table only five seconds.
    while not connection.scalar(text(f"SELECT pg_try_advisory_lock({ADVISORY_LOCK})")):
        # Poll instead of waiting in one statement: CREATE INDEX CONCURRENTLY waits for all older statements.
        connection.commit()
        time.sleep(LOCK_POLL_INTERVAL)
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
        render_item=_render_item,
        on_version_apply=_record_supported_revisions,
    )
    with context.begin_transaction():
        context.run_migrations()
    distribute_all(connection)
    _grant(connection, context.config.attributes.get("service_role"))
    connection.execute(text(f"SELECT pg_advisory_unlock({ADVISORY_LOCK})"))
    connection.commit()


def _record_supported_revisions(*, ctx: MigrationContext, heads: Collection[str], **_options: object) -> None:
    """Record which versions work with the schema, in the transaction of each migration."""
    assert ctx.connection is not None
    for current in heads:  # one, or none below the first migration
        write_supported_revisions(ctx.connection, context.script, current)


def _render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write the type of an enum column as it is in the database: a migration imports nothing of the application."""
    return "sa.Text()" if kind == "type" and isinstance(item, TextEnum) else False


def _grant(connection: Connection, service_role: str | None) -> None:
    """Let the service's role write all tables except those about migrations. If it is the owner, it needs no grant."""
    if service_role and service_role != connection.scalar(text("SELECT current_user")):
        role = connection.dialect.identifier_preparer.quote(service_role)
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
        for table in filter(inspect(connection).has_table, READ_ONLY):
            connection.execute(text(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {role}"))
        connection.commit()


async def _connect_and_migrate() -> None:
    connect_args = {"connection_class": pooler.UnnamedStatements}  # works behind a pooler, to report it
    engine = create_async_engine(_url(), poolclass=pool.NullPool, connect_args=connect_args)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


asyncio.run(_connect_and_migrate())

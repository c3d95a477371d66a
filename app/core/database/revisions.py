"""Which versions work with the schema: a version is named by its last migration, its revision.

During an upgrade the web processes of the previous version serve while the newer schema is in place. They are ready if
the newer version has listed theirs.
"""

from __future__ import annotations

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import LOCAL_TABLE, Base


class SupportedRevision(Base):
    """The revision of a version that works with the present schema."""

    __tablename__ = "supported_revisions"

    revision: Mapped[str] = mapped_column(primary_key=True)

    __table_args__ = (LOCAL_TABLE,)


def find_supported_revisions(scripts: ScriptDirectory, current: str) -> list[str]:
    """Return the revisions whose code works with the schema of `current`, the newest first.

    A migration that removes what earlier versions need names the oldest revision that does without it, as
    `oldest_supported`. The list ends with the first of these.
    """
    supported = []
    oldest = set()
    for script in scripts.walk_revisions("base", current):
        supported.append(script.revision)
        oldest.add(getattr(script.module, "oldest_supported", None))
        if script.revision in oldest:
            break
    return supported


def write_supported_revisions(connection: Connection, scripts: ScriptDirectory, current: str) -> None:
    """Record which versions work with the schema, after a migration in either direction to `current`."""
    if not inspect(connection).has_table(SupportedRevision.__tablename__):
        return
    connection.execute(delete(SupportedRevision))
    rows = [{"revision": revision} for revision in find_supported_revisions(scripts, current)]
    connection.execute(insert(SupportedRevision), rows)


async def read_schema_revision(db: AsyncSession) -> str | None:
    """Return the revision of the schema; `None` if the database was never migrated."""
    if not await _has_table(db, "alembic_version"):
        return None
    revision: str | None = await db.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


async def is_supported(db: AsyncSession, revision: str | None) -> bool:
    """Return whether the version with this revision works with the schema, which may be older or newer."""
    if not await _has_table(db, SupportedRevision.__tablename__):
        return False
    statement = select(SupportedRevision.revision).where(SupportedRevision.revision == revision)
    return await db.scalar(statement) is not None


async def _has_table(db: AsyncSession, name: str) -> bool:
    return await db.scalar(text("SELECT to_regclass(:name)::text"), {"name": name}) is not None

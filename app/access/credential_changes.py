"""Tell the caches of all processes which credentials have changed.

A transaction that changes what credentials allow adds a row. Every web process reads the new rows once a second, and
drops what it had cached of those credentials. Without this, a process could cache credentials for a few seconds only,
and would look up the credential of nearly every request once there are thousands of organisations.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.credential_cache import CredentialCache
from app.access.models import CredentialChange
from app.core.database.pool import Database
from app.core.ids import new_id

if TYPE_CHECKING:
    from asyncpg import Record

POLL_INTERVAL = 1.0  # seconds
RETENTION = timedelta(hours=1)
# A process that has read nothing for this long, because it was suspended say, may have missed deleted rows.
MAX_GAP = RETENTION / 2
_NO_CHANGES = 2**63 - 1  # no transaction has this id

# Everything that commits after this statement has begun has a transaction id from `next_id` on.
_READ_NEW = """
    SELECT position.next_id, position.read_at, position.server_started_at, c.id, c.org_id, c.user_id
    FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS next_id, clock_timestamp() AS read_at,
                 pg_postmaster_start_time() AS server_started_at) AS position
    LEFT JOIN credential_changes AS c ON c.transaction_id >= $1
"""

log = structlog.get_logger("tessera")


def record_credential_change(db: AsyncSession, org_id: UUID, user_id: UUID | None = None) -> None:
    """Note in the transaction that it changes what credentials allow.

    Args:
        user_id: the only user whom the change concerns; `None` for the organisation and all its users.
    """
    db.add(CredentialChange(id=new_id(), org_id=org_id, user_id=user_id))


async def delete_old_changes(db: AsyncSession) -> None:
    """Delete the changes that every process has read. The clock is the database's, as that of their times."""
    await db.execute(delete(CredentialChange).where(CredentialChange.created_at < func.now() - RETENTION))


@dataclass(frozen=True)
class ReadPosition:
    """Up to where the changes were read: those of transactions from `next_id` on remain."""

    next_id: int
    read_at: datetime
    server_started_at: datetime


class CredentialChangeReader:
    """Reads the changes of all processes into the cache of this one.

    Args:
        database: a pool that requests do not use, so that a busy process goes on reading.
    """

    def __init__(self, database: Database, cache: CredentialCache) -> None:
        self._database = database
        self._cache = cache
        self._position: ReadPosition | None = None
        self._to_repeat: dict[UUID, tuple[UUID, UUID | None]] = {}
        self._applied: AbstractSet[UUID] = frozenset()
        self._is_failing = False

    async def run(self) -> None:
        """Read the changes once a second, until the task is cancelled."""
        while True:
            try:
                await self.read()
            except Exception as failure:  # noqa: BLE001 - the cache then uses only what it has just looked up
                if not self._is_failing:
                    log.warning("credential_changes_unreadable", error=type(failure).__name__)
                self._is_failing = True
            else:
                if self._is_failing:
                    log.info("credential_changes_readable")
                self._is_failing = False
            await asyncio.sleep(POLL_INTERVAL)

    async def read(self) -> None:
        """Read the changes since the last time."""
        started_at = time.monotonic()
        last = self._position
        async with self._database.driver(None) as driver:
            rows = await driver.fetch(_READ_NEW, last.next_id if last else _NO_CHANGES)
        position = ReadPosition(*(rows[0][name] for name in ("next_id", "read_at", "server_started_at")))
        if last is None or may_miss_changes(last, position):
            self._cache.invalidate_all()
        self._apply([row for row in rows if row["id"] is not None])
        self._cache.note_changes_read(started_at)
        self._position = position

    def _apply(self, rows: Sequence[Record]) -> None:
        """Drop what the cache has of the changed credentials.

        Changes are read again while an older transaction is running. Each is applied when it is read the first time and
        once more: on Citus, the nodes may commit shortly after the coordinator, which has these rows.
        """
        changes = {row["id"]: (row["org_id"], row["user_id"]) for row in rows}
        pending = {**self._to_repeat, **{key: one for key, one in changes.items() if key not in self._applied}}
        for org_id, user_id in pending.values():
            self._cache.invalidate(org_id, user_id)
        self._to_repeat = {key: one for key, one in pending.items() if key not in self._to_repeat}
        self._applied = changes.keys() | self._to_repeat.keys()


def may_miss_changes(last: ReadPosition, position: ReadPosition) -> bool:
    """Return whether changes may be missing between the positions.

    After a failover or a crash, the server may have lost the last transactions and given their ids to others.
    """
    return (
        position.server_started_at != last.server_started_at
        or position.next_id < last.next_id
        or position.read_at - last.read_at > MAX_GAP
    )

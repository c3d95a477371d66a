"""The cache of credentials forgets what the reader of changes finds, and all if it may have missed some."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from app.access.callers import Principal
from app.access.credential_cache import MAX_CHANGES, MAX_SILENCE, CredentialCache
from app.access.credential_changes import (
    MAX_GAP,
    CredentialChangeReader,
    ReadPosition,
    may_miss_changes,
    record_credential_change,
)
from app.access.tenant import Tenant
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.security.access_tokens import InvalidToken
from app.core.security.secret_keys import generate_secret_key
from tests.conftest import SECRET_KEY

UNREACHABLE = "postgresql+asyncpg://tessera@/tessera?host=/nonexistent"


class Credentials:
    """A tenant with a secret key, as the database would find it, and how often it was looked up."""

    def __init__(self) -> None:
        self.tenant = Tenant(
            id=new_id(), name="Growfin", domain="growfin.test", sandbox=False, clock_offset=timedelta(0),
            auto_close_days=30, timezone="UTC", support_email=None,
        )  # fmt: skip
        self.secret = generate_secret_key()
        self.lookups = 0
        self.during_lookup: Callable[[], None] = lambda: None

    async def find_tenant(self, _database: Database, _secret_hash: bytes) -> Tenant | None:
        found = self.tenant
        self.lookups += 1
        self.during_lookup()
        return found

    async def find_user(self, *_: object) -> tuple[Tenant, Principal] | None:
        raise InvalidToken


@pytest.fixture
def credentials() -> Credentials:
    return Credentials()


@pytest.fixture
def cache(database: Database, credentials: Credentials) -> CredentialCache:
    return CredentialCache(database, SECRET_KEY, find_tenant=credentials.find_tenant, find_user=credentials.find_user)


@pytest.fixture
def reader(database: Database, cache: CredentialCache) -> CredentialChangeReader:
    return CredentialChangeReader(database, cache)


async def test_what_is_unchanged_is_looked_up_once(
    cache: CredentialCache, reader: CredentialChangeReader, credentials: Credentials
) -> None:
    await reader.read()
    for _ in range(3):
        await cache.resolve_secret_key(credentials.secret)
        await reader.read()
    assert credentials.lookups == 1


async def test_a_change_that_commits_late_is_read(
    database: Database, cache: CredentialCache, reader: CredentialChangeReader, credentials: Credentials
) -> None:
    """Its transaction began before others whose changes were read already."""
    async with database.session(None) as db:
        record_credential_change(db, credentials.tenant.id)
        await db.flush()
        async with database.session(None) as other:
            record_credential_change(other, uuid4())
        for _ in range(3):
            await reader.read()
        await cache.resolve_secret_key(credentials.secret)
        await reader.read()
        await cache.resolve_secret_key(credentials.secret)
        assert credentials.lookups == 1
    await reader.read()
    await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 2


async def test_a_lookup_that_began_before_the_change_does_not_count(
    cache: CredentialCache, reader: CredentialChangeReader, credentials: Credentials
) -> None:
    await reader.read()
    credentials.during_lookup = lambda: cache.invalidate(credentials.tenant.id)
    await cache.resolve_secret_key(credentials.secret)
    credentials.during_lookup = lambda: None
    for _ in range(2):
        await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 2


async def test_a_change_of_one_user_leaves_the_secret_key_of_the_organisation_cached(
    cache: CredentialCache, reader: CredentialChangeReader, credentials: Credentials
) -> None:
    await reader.read()
    await cache.resolve_secret_key(credentials.secret)
    cache.invalidate(credentials.tenant.id, uuid4())
    await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 1
    cache.invalidate(credentials.tenant.id)
    await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 2


async def test_a_process_that_cannot_read_changes_uses_a_lookup_for_five_seconds_only(
    cache: CredentialCache, credentials: Credentials
) -> None:
    unreachable = Database(UNREACHABLE)
    reading = asyncio.create_task(CredentialChangeReader(unreachable, cache).run())
    await cache.resolve_secret_key(credentials.secret)
    await asyncio.sleep(MAX_SILENCE - 1)
    await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 1
    await asyncio.sleep(1.1)
    await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 2
    assert not reading.done(), "it goes on trying"
    reading.cancel()
    await unreachable.dispose()


async def test_a_change_is_applied_again_once_for_nodes_that_commit_later(
    database: Database, cache: CredentialCache, reader: CredentialChangeReader, credentials: Credentials
) -> None:
    await reader.read()
    async with database.session(None) as running:  # keeps the change among those that are read
        record_credential_change(running, uuid4())
        await running.flush()
        async with database.session(None) as db:
            record_credential_change(db, credentials.tenant.id)
        lookups = []
        for _ in range(5):
            await reader.read()
            await cache.resolve_secret_key(credentials.secret)
            lookups.append(credentials.lookups)
    assert lookups == [1, 2, 2, 2, 2]


async def test_more_changes_than_are_kept_empty_the_cache(
    cache: CredentialCache, reader: CredentialChangeReader, credentials: Credentials
) -> None:
    await reader.read()
    cache.invalidate(credentials.tenant.id)
    await cache.resolve_secret_key(credentials.secret)
    for _ in range(MAX_CHANGES):
        cache.invalidate(uuid4())
    await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 2


def test_changes_may_be_missing_after_a_failover_and_after_a_long_pause() -> None:
    now = real_now()
    last = ReadPosition(next_id=7, read_at=now, server_started_at=now)
    in_time = replace(last, read_at=now + MAX_GAP)
    assert not may_miss_changes(last, in_time)
    assert may_miss_changes(last, replace(in_time, read_at=now + MAX_GAP + timedelta(seconds=1)))
    assert may_miss_changes(last, replace(in_time, server_started_at=now + timedelta(seconds=1)))
    assert may_miss_changes(last, replace(in_time, next_id=6))


async def test_the_cache_is_emptied_if_changes_may_be_missing(
    database: Database, cache: CredentialCache, reader: CredentialChangeReader, credentials: Credentials
) -> None:
    await reader.read()
    await cache.resolve_secret_key(credentials.secret)
    another_reader = CredentialChangeReader(database, cache)  # knows of no change before it begins
    await another_reader.read()
    await cache.resolve_secret_key(credentials.secret)
    assert credentials.lookups == 2

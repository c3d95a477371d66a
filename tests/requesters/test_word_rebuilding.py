"""Words by former rules are rebuilt in batches: of users, of requesters and of tickets."""

from __future__ import annotations

import importlib.util
from functools import partial
from uuid import UUID

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, select, text

from app import wiring
from app.accounts.users import jobs as user_jobs
from app.core.clock import real_now
from app.core.database.migrations import SCRIPTS
from app.core.outbox import timers
from app.core.outbox.models import Timer
from app.core.outbox.timers import Handlers
from app.requesters import jobs as requester_jobs
from app.tickets.search.rules import INDEX_TICKETS
from tests.accounts.users_and_roles import add_user
from tests.organisation_client import Desk
from tests.tickets.rows import skip_earlier_work
from tests.tickets.search.searching import open_indexed, search

KINDS = [INDEX_TICKETS, user_jobs.INDEX_USERS, requester_jobs.INDEX_REQUESTERS]


async def replace_words(desk: Desk) -> None:
    """Make all words those of other rules."""
    async with desk.database.session(desk.id) as db:
        for table in ("user_words", "requester_words"):
            owner = table.replace("words", "id")
            await db.execute(text(f"DELETE FROM {table} WHERE org_id = :org AND word <> 'test'"), {"org": desk.id})
            await db.execute(
                text(f"UPDATE {table} SET word = 'former' || {owner}::text WHERE org_id = :org"), {"org": desk.id}
            )
        await db.execute(
            text("UPDATE ticket_search SET lexemes = array_to_tsvector('{x}') WHERE org_id = :org"), {"org": desk.id}
        )


async def list_names(desk: Desk, path: str, q: str) -> list[str]:
    answer = await desk.admin.get(path, params={"q": q, "limit": 100})
    assert answer.status_code == 200
    return [one["email"] for one in answer.json()["items"]]


async def pending_kinds(desk: Desk) -> set[str]:
    async with desk.database.session(desk.id) as db:
        return set(await db.scalars(select(Timer.kind).where(Timer.org_id == desk.id, Timer.kind.in_(KINDS))))


@pytest.mark.parametrize("per_batch", [2, 3, 100])
async def test_all_words_are_rebuilt_in_batches(desk: Desk, per_batch: int) -> None:
    await skip_earlier_work(desk.database)
    users = [(await add_user(desk, first_name="Jürgen", email=f"u{n}@shop.test")).email for n in range(5)]
    requesters = [f"r{n}@shop.test" for n in range(5)]
    for email in requesters:
        await open_indexed(desk, title="Müller", requester={"email": email, "name": "Jürgen"})
    await replace_words(desk)
    assert await list_names(desk, "/users", "juergen") == await list_names(desk, "/requesters", "juergen") == []
    assert await search(desk, "mueller") == []
    async with desk.database.session(desk.id) as db:
        await timers.set_timers(db, desk.id, desk.id, dict.fromkeys(KINDS, real_now()))

    handlers: Handlers = {
        INDEX_TICKETS: wiring.TIMERS[INDEX_TICKETS],
        user_jobs.INDEX_USERS: partial(user_jobs.resume_indexing_users, limit=per_batch),
        requester_jobs.INDEX_REQUESTERS: partial(requester_jobs.resume_indexing_requesters, limit=per_batch),
    }
    await timers.run_due(desk.database, handlers)

    assert await list_names(desk, "/users", "juergen") == users[::-1]
    assert await list_names(desk, "/requesters", "juergen") == requesters[::-1]
    assert await list_names(desk, "/users", "former") == await list_names(desk, "/requesters", "former") == []
    assert await search(desk, "mueller juergen") == [5, 4, 3, 2, 1]
    assert await pending_kinds(desk) == set()


async def test_erased_users_and_requesters_get_no_words(desk: Desk) -> None:
    user = await add_user(desk, first_name="Zora", email="zora@shop.test")
    ticket = await open_indexed(desk, requester={"email": "mia@shop.test"})
    for path in (f"/users/{user.id}", f"/requesters/{ticket['requester']['id']}"):
        assert (await desk.admin.delete(path)).status_code == 204
    async with desk.database.session(desk.id) as db:
        await timers.set_timers(db, desk.id, desk.id, dict.fromkeys(KINDS, real_now()))

    await timers.run_due(desk.database, {kind: wiring.TIMERS[kind] for kind in KINDS})

    for path in ("/users", "/requesters"):
        assert await list_names(desk, path, "shop") == await list_names(desk, path, "erased") == []
    assert await search(desk, "broke") == [1]


async def test_the_migration_sets_the_timers_of_every_organisation(desk: Desk) -> None:
    (path,) = SCRIPTS.glob("versions/*_rebuild_search_words.py")
    spec = importlib.util.spec_from_file_location("rebuild_search_words", path)
    assert spec
    assert spec.loader
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)

    def run(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            migration.upgrade()

    async with desk.database.session(desk.id) as db:
        await timers.set_timers(db, desk.id, UUID(int=1), {"INDEX_TICKETS": real_now()})
        await (await db.connection()).run_sync(run)
        found = await db.execute(select(Timer.kind, Timer.subject_id).where(Timer.org_id == desk.id))

        assert {tuple(row) for row in found} >= {(kind, desk.id) for kind in KINDS}
        assert "INDEX_TICKETS" not in {kind for kind, _ in found}
        await db.rollback()

"""Migration 0006 with people in the tables: who works on tickets is worked out for those who are there already."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from app.access.permissions import TICKET_WORK, effective
from app.accounts.users.models import AVAILABLE
from app.core.ids import new_id
from tests.postgres import TestServer
from tests.schema import catalog
from tests.schema.catalog import Connection, connected
from tests.schema.test_migrations import check, down, up

BOTH, SEES, CHANGES = ["tickets:view", "tickets:update"], ["tickets:view"], ["stores:view", "tickets:update"]
ALL = frozenset([*BOTH, "stores:view", "keys:view"])
# The role's permissions (a built-in one's, where there are none), what is granted and denied, and the status.
PEOPLE: list[tuple[str, list[str] | None, list[str], list[str], str]] = [
    ("ADMIN", None, [], [], "ACTIVE"),
    ("ENGINEER", None, [], [], "ACTIVE"),
    ("CUSTOMER", None, [], [], "ACTIVE"),
    ("ENGINEER", None, [], ["keys:view"], "ACTIVE"),
    ("ENGINEER", None, [], ["tickets:update"], "ACTIVE"),
    ("ADMIN", None, BOTH, ["tickets:view"], "SUSPENDED"),
    ("CUSTOMER", None, [], ["tickets:view"], "ACTIVE"),
    ("ENGINEER", BOTH, [], [], "ACTIVE"),
    ("ENGINEER", BOTH, [], ["tickets:view"], "ACTIVE"),
    ("ENGINEER", SEES, [], [], "ACTIVE"),
    ("ENGINEER", SEES, ["tickets:update"], [], "ACTIVE"),
    ("ADMIN", CHANGES, [], [], "ACTIVE"),
    ("ADMIN", CHANGES, BOTH, [], "INVITED"),
    ("ENGINEER", [], [], [], "PENDING"),
    ("ENGINEER", [], BOTH, [], "ACTIVE"),
]
# What a build that was broken off leaves.
UNFINISHED = f"""
    DROP INDEX ix_people_available;
    CREATE INDEX ix_people_available ON people (org_id, id) WHERE {AVAILABLE};
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_people_available'::regclass
"""
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_people_available'::regclass"
INDEX = "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_people_available'"


async def an_organisation(connection: Connection) -> dict[UUID, tuple[bool, bool]]:
    """With all these people; returns of each whether they work on tickets, and whether tickets could be theirs."""
    org_id = uuid4()
    await connection.execute(
        "INSERT INTO organisations (id, name, domain, sandbox, auto_close_days, timezone, created_at) "
        "VALUES ($1, 'Growfin', $2, false, 30, 'UTC', $3)",
        org_id, f"{org_id}.test", catalog.NOW,
    )  # fmt: skip
    expected = {}
    for role, permissions, granted, denied, status in PEOPLE:
        person_id, role_id = new_id(), None
        if permissions is not None:
            role_id = new_id()
            await connection.execute(
                "INSERT INTO roles (org_id, id, name, role, permissions, created_at, updated_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, $6)",
                org_id, role_id, str(role_id), role, permissions, catalog.NOW,
            )  # fmt: skip
        await connection.execute(
            "INSERT INTO people (org_id, id, first_name, last_name, email, role, role_id, granted, denied, status, "
            "available, created_at) VALUES ($1, $2, 'Ada', 'Lovelace', $3, $4, $5, $6, $7, $8, true, $9)",
            org_id, person_id, f"{person_id}@growfin.test", role, role_id, granted, denied, status, catalog.NOW,
        )  # fmt: skip
        of_role = ALL if permissions is None else frozenset(permissions)
        works = effective(of_role, frozenset(granted), frozenset(denied)) >= TICKET_WORK
        expected[person_id] = (works, status == "ACTIVE" and role != "CUSTOMER")
    return expected


async def noted(connection: Connection) -> dict[UUID, bool]:
    return {row[0]: row[1] for row in await connection.fetch("SELECT id, works_on_tickets FROM people")}


async def test_it_is_worked_out_for_everybody_and_their_tickets_are_handed_over(empty: TestServer) -> None:
    await up(empty, "0005")
    async with connected(empty.superuser_url) as connection:
        expected = await an_organisation(connection) | await an_organisation(connection)
        before = await connection.fetch("SELECT * FROM people ORDER BY id")
        index = await connection.fetchval(INDEX)

        await up(empty, "0006")

        assert await noted(connection) == {person_id: works for person_id, (works, _) in expected.items()}
        assert set((await noted(connection)).values()) == {True, False}
        due = await connection.fetch("SELECT subject_id, kind FROM timers WHERE due_at <= clock_timestamp()")
        assert {tuple(row) for row in due} == {
            (person_id, "HAND_OVER") for person_id, (works, active) in expected.items() if active and not works
        }
        assert "works_on_tickets" in await connection.fetchval(INDEX)
        assert await forced(connection) == {"people": True, "roles": True}
        new = "INSERT INTO people (org_id, id, first_name, last_name, email, role, status, available, created_at) "
        await connection.execute(
            f"{new} SELECT org_id, $1, 'Bo', 'Diaz', 'b@x.test', 'ADMIN', 'ACTIVE', true, $2 FROM people LIMIT 1",
            stays := new_id(), catalog.NOW,
        )  # fmt: skip
        assert (await noted(connection))[stays] is True

        await down(empty, "0005")

        await connection.execute("DELETE FROM people WHERE id = $1", stays)
        assert await connection.fetch("SELECT * FROM people ORDER BY id") == before
        assert await connection.fetchval(INDEX) == index
        assert await forced(connection) == {"people": True, "roles": True}

        await up(empty)
        assert await noted(connection) == {person_id: works for person_id, (works, _) in expected.items()}


async def forced(connection: Connection) -> dict[str, bool]:
    """Whether row level security binds the owner, too."""
    rows = await connection.fetch(
        "SELECT relname, relforcerowsecurity FROM pg_class WHERE relname IN ('people', 'roles')"
    )
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize(
    "left",
    [
        "SELECT 'the index of the version before'",
        "DROP INDEX ix_people_available",
        UNFINISHED,
    ],
)
async def test_one_that_was_broken_off_can_be_repeated(empty: TestServer, left: str) -> None:
    await up(empty, "0005")
    async with connected(empty.superuser_url) as connection:
        expected = await an_organisation(connection)
        await connection.execute("ALTER TABLE people ADD works_on_tickets boolean DEFAULT true NOT NULL")
        await connection.execute("UPDATE people SET works_on_tickets = (role = 'ADMIN')")  # what has changed since
        await connection.execute("INSERT INTO timers SELECT org_id, id, 'HAND_OVER', now() FROM people")
        await connection.execute(left)

        await up(empty)

        assert await noted(connection) == {person_id: works for person_id, (works, _) in expected.items()}
        assert await connection.fetchval(VALID) is True
        assert AVAILABLE.split()[2] in await connection.fetchval(INDEX)
    await check(empty)

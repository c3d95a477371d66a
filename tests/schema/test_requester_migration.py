"""The migration that makes the requesters of existing tickets, in both directions."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from alembic import command
from alembic.script import ScriptDirectory

from app.core.database.migrations import make_alembic_config
from app.core.ids import new_id, read_creation_time
from tests.postgres import TestServer
from tests.schema.catalog import NOW, Connection, connected

REVISION = "0004"
SERVICE = "tessera_service"


async def up(server: TestServer, revision: str) -> None:
    await asyncio.to_thread(command.upgrade, make_alembic_config(server.owner_url, SERVICE), revision)


async def down(server: TestServer, revision: str) -> None:
    await asyncio.to_thread(command.downgrade, make_alembic_config(server.owner_url, SERVICE), revision)


def find_previous_revision() -> str:
    revision = ScriptDirectory.from_config(make_alembic_config("")).get_revision(REVISION)
    assert isinstance(revision.down_revision, str)
    return revision.down_revision


class Organisation:
    """Writes rows of an organisation as they were before the migration."""

    def __init__(self, connection: Connection) -> None:
        self.id, self._connection, self._count = uuid4(), connection, 0

    async def insert(self, table: str, **values: Any) -> UUID:
        names, places = ", ".join(values), ", ".join(f"${n}" for n in range(1, len(values) + 1))
        await self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *values.values())
        row_id: UUID = values.get("id", self.id)
        return row_id

    async def sign_up(self) -> None:
        await self.insert(
            "organisations", id=self.id, name="Growfin", domain=f"{self.id}.test", sandbox=True, auto_close_days=30,
            timezone="UTC", created_at=NOW,
        )  # fmt: skip

    async def user(self, email: str, *, verified: bool = True, status: str = "ACTIVE") -> UUID:
        return await self.insert(
            "users", org_id=self.id, id=new_id(), first_name="Mia", last_name="Moreau", email=email,
            email_verified_at=NOW if verified else None, role_kind="CUSTOMER", status=status, available=False,
            created_at=NOW,
        )  # fmt: skip

    async def ticket(self, email: str, user_id: UUID | None = None) -> int:
        self._count += 1
        await self.insert(
            "tickets", org_id=self.id, id=new_id(), number=self._count, title="It broke", description="All of it.",
            status="OPEN", priority="LOW", requester_email=email, requester_user_id=user_id,
            created_at=NOW + timedelta(minutes=self._count), updated_at=NOW,
        )  # fmt: skip
        return self._count


async def test_tickets_get_the_requesters_of_their_accounts_and_addresses(empty: TestServer) -> None:
    await up(empty, find_previous_revision())
    async with connected(empty.superuser_url) as connection:
        ours, theirs = Organisation(connection), Organisation(connection)
        for one in (ours, theirs):
            await one.sign_up()
        mia = await ours.user("mia@new.test")
        former = await ours.ticket("mia@old.test", mia), await ours.ticket("mia@new.test", mia)
        unlinked = await ours.ticket("mia@new.test")  # the link was still to come
        of_nobody = await ours.ticket("mia@old.test"), await ours.ticket("mia@old.test")
        sly = await ours.user("victim@shop.test", verified=False)
        own, of_victim = await ours.ticket("victim@shop.test", sly), await ours.ticket("victim@shop.test")
        erased_email = f"erased-{uuid4()}@erased.invalid"
        erased = await ours.user(erased_email, verified=False, status="ERASED")
        of_erased = await ours.ticket(erased_email, erased), await ours.ticket("gone@shop.test", erased)
        elsewhere = await theirs.ticket("mia@new.test")
        for kind in ("LINK_TICKETS", "ERASE_REQUESTER", "AUTO_CLOSE"):
            await ours.insert("timers", org_id=ours.id, subject_id=mia, kind=kind, due_at=NOW)

        await up(empty, REVISION)

        rows = await connection.fetch(
            "SELECT t.org_id, t.number, t.created_at AS opened_at, r.* FROM tickets AS t "
            "JOIN requesters AS r ON r.org_id = t.org_id AND r.id = t.requester_id"
        )
        found = {(row["org_id"], row["number"]): row for row in rows}
        requesters = {
            number: (row["email"], row["owns_email"], row["name"], row["user_id"], row["erased_at"] is not None)
            for (org_id, number), row in found.items()
            if org_id == ours.id
        }
        for number in (*former, unlinked):
            assert requesters[number] == ("mia@new.test", True, "Mia Moreau", mia, False)
        for number in of_nobody:
            assert requesters[number] == ("mia@old.test", True, None, None, False)
        assert requesters[own] == ("victim@shop.test", False, "Mia Moreau", sly, False)
        assert requesters[of_victim] == ("victim@shop.test", True, None, None, False)
        for number in of_erased:
            assert requesters[number] == (erased_email, False, None, erased, True)
        assert found[theirs.id, elsewhere]["user_id"] is None
        assert len({row["id"] for row in found.values()}) == len(set(requesters.values())) + 1
        for row in found.values():
            assert row["id"].version == 7
            assert row["created_at"].timestamp() == read_creation_time(row["id"]) <= row["opened_at"].timestamp()
        kinds = "SELECT kind FROM timers WHERE org_id = $1 ORDER BY kind"
        assert [row["kind"] for row in await connection.fetch(kinds, ours.id)] == ["AUTO_CLOSE", "INDEX_TICKETS"]

        await down(empty, "-1")

        before = "SELECT number, requester_email, requester_user_id FROM tickets WHERE org_id = $1"
        back = {row["number"]: tuple(row)[1:] for row in await connection.fetch(before, ours.id)}
        assert back == {number: (one[0], one[3]) for number, one in requesters.items()}


async def test_the_owner_of_the_tables_stays_under_row_level_security(empty: TestServer) -> None:
    await up(empty, find_previous_revision())
    async with connected(empty.superuser_url) as connection:
        ours = Organisation(connection)
        await ours.sign_up()
        await ours.ticket("mia@customer.test")
    await up(empty, REVISION)

    async with connected(empty.owner_url) as owner:
        for table in ("tickets", "requesters", "requester_words"):
            assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0, table

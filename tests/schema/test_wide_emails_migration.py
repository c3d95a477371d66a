"""The migration that stores addresses with full-width characters in the usual form."""

from __future__ import annotations

from app.core.database.migrations import make_alembic_config
from app.core.email_addresses import normalise_email
from tests.postgres import TestServer
from tests.schema.catalog import connected
from tests.schema.test_requester_migration import Organisation, up

from alembic.script import ScriptDirectory  # isort: skip

WIDE, USUAL = "\uff4dike@growfin.test", "mike@growfin.test"
KANA = "\uff8a\uff9e\uff85@growfin.test"


async def test_addresses_are_found_in_their_new_form_unless_another_row_has_it(empty: TestServer) -> None:
    migration = ScriptDirectory.from_config(make_alembic_config("")).get_revision("0010")
    await up(empty, str(migration.down_revision))
    async with connected(empty.superuser_url) as connection:
        one, other = Organisation(connection), Organisation(connection)
        for organisation, emails in ((one, [WIDE, KANA, "x@growfin.test"]), (other, [WIDE, USUAL])):
            await organisation.sign_up()
            for email in emails:
                user = await organisation.user(email)
                await organisation.insert("credentials", org_id=organisation.id, user_id=user, email=email)
    await up(empty, "0010")
    async with connected(empty.superuser_url) as connection:
        for table in ("users", "credentials"):
            query = f"SELECT email FROM {table} WHERE org_id = $1 ORDER BY email"
            found = [row["email"] for row in await connection.fetch(query, one.id)]
            assert found == sorted([USUAL, normalise_email(KANA), "x@growfin.test"])
            assert [row["email"] for row in await connection.fetch(query, other.id)] == [USUAL, WIDE]

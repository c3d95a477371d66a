"""The migration that stores addresses with full-width characters in the usual form."""

from __future__ import annotations

from app.core.database.migrations import make_alembic_config
from app.core.email_addresses import normalise_email
from app.core.ids import new_id
from tests.postgres import TestServer
from tests.schema.catalog import NOW, connected
from tests.schema.test_requester_migration import Organisation, up

from alembic.script import ScriptDirectory  # isort: skip

WIDE, USUAL = "\uff4dike@growfin.test", "mike@growfin.test"
KANA = "\uff8a\uff9e\uff85@growfin.test"


# Two forms of one address, and two that are no address in their usual form.
SIMILAR = [WIDE, "m\uff49ke@growfin.test"]
INVALID = ["victim\uff20evil.com\uff0cmike@growfin.test", "\uff1cb\uff1e@growfin.test"]


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


async def test_addresses_that_are_the_same_or_invalid_do_not_stop_the_migration(empty: TestServer) -> None:
    await up(empty, "0009")
    async with connected(empty.superuser_url) as connection:
        one, odd_dots = Organisation(connection), "aaa..b\uff11@docomo.ne.jp"
        await one.sign_up()
        for email in (*SIMILAR, *INVALID):
            user = await one.user(email)
            await one.insert("credentials", org_id=one.id, user_id=user, email=email)
        for email in (*SIMILAR, *INVALID, odd_dots):
            await one.insert("requesters", org_id=one.id, id=new_id(), email=email, created_at=NOW)
        # Without a credential, as an invited user.
        other = Organisation(connection)
        await other.sign_up()
        await other.user(USUAL)
        await other.insert("credentials", org_id=other.id, user_id=await other.user(WIDE), email=WIDE)
        merged = new_id()
        await other.insert("requesters", org_id=other.id, id=merged, email=WIDE, created_at=NOW)
        await other.insert(
            "requesters", org_id=other.id, id=new_id(), email=WIDE, owns_email=False, merged_into_id=merged,
            created_at=NOW,
        )  # fmt: skip
    await up(empty, "0010")
    async with connected(empty.superuser_url) as connection:
        for table, more in (("users", []), ("credentials", []), ("requesters", ["aaa..b1@docomo.ne.jp"])):
            query = f"SELECT email FROM {table} WHERE org_id = $1"
            found = sorted(row["email"] for row in await connection.fetch(query, one.id))
            # The other form of the address stays, and those that are no address.
            assert found == sorted([USUAL, SIMILAR[0], *INVALID, *more])
        of_other = [
            [row["email"] for row in await connection.fetch(f"SELECT email FROM {table} WHERE org_id = $1", other.id)]
            for table in ("users", "credentials", "requesters")
        ]
        assert of_other == [[USUAL, WIDE], [WIDE], [USUAL, USUAL]]

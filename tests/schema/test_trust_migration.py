"""The migration that sets apart the front ends that no admin has set, in both directions."""

from __future__ import annotations

from tests.postgres import TestServer
from tests.schema.catalog import NOW, Connection, connected
from tests.schema.test_requester_migration import Organisation, down, up

BEFORE, REVISION = "0007", "0008"
URL = "https://desk.growfin.test/app"


async def set_app_url(connection: Connection, role_kind: str | None) -> Organisation:
    """Sign up an organisation with an `appUrl`, set by a user of this kind; without one, by the operator."""
    organisation = Organisation(connection)
    await organisation.sign_up()
    await connection.execute(
        "UPDATE organisations SET app_url = $1, app_origin = 'https://desk.growfin.test' WHERE id = $2",
        URL, organisation.id,
    )  # fmt: skip
    if role_kind is not None:
        user_id = await organisation.user(f"{role_kind}@growfin.test")
        await connection.execute(
            "UPDATE users SET role_kind = $1 WHERE org_id = $2 AND id = $3", role_kind, organisation.id, user_id
        )
        # A later event about another setting, by an admin, says nothing about the URL.
        admin_id = await organisation.user("ada@growfin.test")
        await connection.execute(
            "UPDATE users SET role_kind = 'ADMIN' WHERE org_id = $1 AND id = $2", organisation.id, admin_id
        )
        for seq, (actor, setting) in enumerate(((user_id, "appUrl"), (admin_id, "name")), 1):
            await organisation.insert(
                "events", org_id=organisation.id, seq=seq, id=actor, type="organisation.updated", version=1,
                actor_type="USER", actor_id=actor, created_at=NOW,
                data=f'{{"changes": {{"{setting}": {{"from": null, "to": "{URL}"}}}}}}',
            )  # fmt: skip
    return organisation


async def read_urls(connection: Connection, organisation: Organisation, *columns: str) -> tuple[object, ...]:
    statement = f"SELECT {', '.join(columns)} FROM organisations WHERE id = $1"
    row = await connection.fetchrow(statement, organisation.id)
    assert row is not None
    return tuple(row.values())


async def test_an_app_url_stays_if_an_admin_or_the_operator_has_set_it(empty: TestServer) -> None:
    await up(empty, BEFORE)
    async with connected(empty.superuser_url) as connection:
        by_admin = await set_app_url(connection, "ADMIN")
        by_engineer = await set_app_url(connection, "ENGINEER")
        by_operator = await set_app_url(connection, None)

        await up(empty, REVISION)
        columns = ("app_url", "app_origin", "unconfirmed_app_url")
        for organisation in (by_admin, by_operator):
            assert await read_urls(connection, organisation, *columns) == (URL, "https://desk.growfin.test", None)
        assert await read_urls(connection, by_engineer, *columns) == (None, None, URL)

        await down(empty, BEFORE)
        for organisation in (by_admin, by_engineer, by_operator):
            assert await read_urls(connection, organisation, "app_url", "app_origin") == (
                URL, "https://desk.growfin.test",
            )  # fmt: skip

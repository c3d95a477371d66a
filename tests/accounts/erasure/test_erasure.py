"""Erase users: personal data is deleted, and what others need stays."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import make_url, select

from app.access.user_permissions import RoleKind
from app.accounts.pictures.models import Picture
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.authentication.social.models import ExternalIdentity
from app.core.clock import real_now
from app.core.database.base import TableKind, find_tables
from app.core.database.pool import Database
from app.core.ids import new_id
from app.notifications import mails
from app.notifications.mails import MailDraft
from tests.accounts.users_and_roles import (
    ADMIN,
    CUSTOMER,
    ENGINEER,
    add_role,
    add_signed_in_user,
    add_user,
    add_user_with_permissions,
    list_events,
    ok,
    read_row,
)
from tests.organisation_client import Api, Desk, create_desk, open_session
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields
from tests.services import unique_email

TABLES = "SELECT table_name FROM information_schema.columns WHERE column_name = $1 AND table_schema = 'public'"
# Their rows become anonymous and stay, like the user's own: `tests/requesters/test_erasing.py`.
ANONYMISED = {"requesters"}
PERSONAL = ("Murasaki", "Shikibu", "Genji", "Asia/Tokyo", "ja-JP", "nosy")


async def add_user_with_all_rows(desk: Desk, **fields: Any) -> UserRow:
    """Add a user with a row in every table that can have one."""
    now = real_now()
    defaults: dict[str, Any] = {
        "first_name": "Murasaki", "last_name": "Shikibu", "bio": "Genji.", "timezone": "Asia/Tokyo", "locale": "ja-JP",
        "muted": ["TICKETS"], "picture_at": now, "email_verified_at": now, "second_factor": True, "available": True,
        "granted": ["keys:view"], "denied": ["vendors:view"], "role_id": await add_role(desk, "tickets:view"),
    }  # fmt: skip
    row = await add_user(desk, **defaults | fields)
    of = {"org_id": desk.id, "user_id": row.id}
    async with desk.database.session(desk.id) as db:
        links.issue(db, desk.id, row.id, row.email, LinkPurpose.RESET_PASSWORD)
        db.add_all(
            [
                Picture(**of, image=b"RIFF"),
                SecondFactor(**of, secret=b"sealed", last_step=0, created_at=now, confirmed_at=now),
                RecoveryCode(**of, hash=b"hash"),
                ExternalIdentity(**of, provider="google", subject=str(new_id()), created_at=now),
            ]
        )
        await mails.queue(db, desk.id, [MailDraft(recipient=row.email, subject="Hello", text="Hello.", user_id=row.id)])
    return row


async def count_rows(server: TestServer, user_id: UUID) -> dict[str, int]:
    """Count the rows of a user in every table that the catalogue lists."""
    url = make_url(server.superuser_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(TABLES, "user_id")
        return {
            name: await connection.fetchval(f"SELECT count(*) FROM {name} WHERE user_id = $1", user_id)
            for (name,) in tables
            if name not in find_tables(TableKind.LOCAL) | ANONYMISED  # the former have ids only, for an hour
        }
    finally:
        await connection.close()


async def dump(server: TestServer, org_id: UUID) -> str:
    """Return all rows of an organisation as text."""
    url = make_url(server.superuser_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(TABLES, "org_id")
        rows = [
            str(row[0])
            for (name,) in tables
            for row in await connection.fetch(f"SELECT t::text FROM {name} AS t WHERE org_id = $1", org_id)
        ]
    finally:
        await connection.close()
    return "\n".join(rows)


# --- erasure ---------------------------------------------------------------------------------------------------------


async def test_all_rows_of_an_erased_user_are_deleted(server: TestServer, desk: Desk) -> None:
    row, other = await add_user_with_all_rows(desk), await add_user_with_all_rows(desk)
    await open_session(desk, row)
    await open_session(desk, other)
    before = await count_rows(server, row.id)
    assert all(before.values()), before

    answer = await desk.admin.delete(f"/users/{row.id}")
    assert (answer.status_code, answer.content) == (204, b"")

    assert not any((await count_rows(server, row.id)).values())
    assert await count_rows(server, other.id) == before


async def test_the_row_of_an_erased_user_is_anonymous(desk: Desk) -> None:
    row = await add_user_with_all_rows(desk)
    await desk.admin.delete(f"/users/{row.id}")
    async with desk.database.session(desk.id) as db:
        left = await db.scalar(select(UserRow).where(UserRow.org_id == desk.id, UserRow.id == row.id))
    assert left is not None
    columns = {name: value for name, value in vars(left).items() if not name.startswith("_")}
    assert columns == {
        "org_id": desk.id, "id": row.id, "first_name": "Erased", "last_name": "user",
        "email": f"erased-{row.id}@erased.invalid", "email_verified_at": None, "role_kind": "ENGINEER", "role_id": None,
        "granted": [], "denied": [], "status": AccountStatus.ERASED, "status_reason": None, "available": False,
        "second_factor": False, "bio": None, "timezone": None, "locale": None, "muted": [], "picture_at": None,
        "works_on_tickets": True, "created_at": row.created_at,
    }  # fmt: skip


async def test_the_history_keeps_the_id_and_no_personal_data(server: TestServer, desk: Desk) -> None:
    row = await add_user_with_all_rows(desk, status="PENDING")
    other = await add_user(desk, status="PENDING")
    ok(await desk.admin.post(f"/users/{row.id}/reject", {"reason": "Shikibu is nosy."}))
    ok(await desk.admin.post(f"/users/{other.id}/reject", {"reason": "Unknown."}))
    ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (await desk.admin.delete(f"/users/{row.id}")).status_code == 204

    history = await list_events(desk, row.id)
    assert history[0] == ("user.rejected", {})
    assert history[-1] == ("user.erased", {})
    assert await list_events(desk, other.id) == [("user.rejected", {})]
    stored = await dump(server, desk.id)
    assert str(row.id) in stored
    assert [word for word in (*PERSONAL, row.email) if word.casefold() in stored.casefold()] == []


@pytest.mark.parametrize("status", [status for status in AccountStatus if status != AccountStatus.ERASED])
async def test_users_of_every_status_can_be_erased_and_are_not_found_afterwards(desk: Desk, status: str) -> None:
    row = await add_user(desk, CUSTOMER, status=status, first_name="Zora")
    path = f"/users/{row.id}"
    assert (await desk.admin.delete(path)).status_code == 204
    for answer in (
        await desk.admin.get(path),
        await desk.admin.get(f"{path}/permissions"),
        await desk.admin.patch(path, {"status": "ACTIVE"}),
        await desk.admin.post(f"{path}/approve"),
        await desk.admin.delete(path),
    ):
        assert_problem(answer, 404, "user_not_found")
    for query in ({}, {"q": "zora"}, {"q": "erased"}, {"role": "CUSTOMER"}):
        listed = ok(await desk.admin.get("/users", params=query))["items"]
        assert str(row.id) not in [one["id"] for one in listed]


async def test_access_tokens_of_an_erased_user_stop_working_immediately(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    engineer = await add_signed_in_user(desk)
    ok(await engineer.get("/me"))
    assert (await desk.admin.delete(f"/users/{engineer.id}")).status_code == 204
    assert_problem(await engineer.get("/me"), 401, "invalid_token")


@pytest.mark.parametrize("role", [ADMIN, ENGINEER])
async def test_the_callers_role_kind_must_not_be_below_that_of_the_erased_user(desk: Desk, role: RoleKind) -> None:
    row = await add_user(desk, ADMIN, role_id=await add_role(desk, "tickets:view", role=ADMIN))
    limited = await add_user_with_permissions(desk, "users:delete", "tickets:view", role=role)
    answer = await limited.delete(f"/users/{row.id}")
    if role == ADMIN:
        assert answer.status_code == 204
    else:
        assert_problem(answer, 403, "privilege_escalation")
        assert (await read_row(desk, row.id)).status == AccountStatus.ACTIVE


# --- after an erasure ------------------------------------------------------------------------------------------------


async def test_the_e_mail_of_an_erased_user_can_be_used_by_a_new_user(desk: Desk) -> None:
    email = unique_email()
    first = await add_user(desk, email=email)
    assert (await desk.admin.delete(f"/users/{first.id}")).status_code == 204
    second = await add_user(desk, email=email)
    assert (await read_row(desk, second.id)).email == email
    assert (await desk.admin.delete(f"/users/{second.id}")).status_code == 204


async def test_the_address_that_replaces_an_erased_one_cannot_be_taken(desk: Desk) -> None:
    row = await add_user(desk)
    taken = f"erased-{row.id}@ERASED.invalid"
    user = {"firstName": "Eve", "lastName": "Ek", "role": "CUSTOMER", "email": taken}
    assert read_invalid_fields(await desk.admin.post("/users", user)) == {"email"}
    ticket = {"title": "Export", "description": "It stops.", "requester": {"email": taken}}
    assert read_invalid_fields(await desk.admin.post("/tickets", ticket)) == {"requester.email"}
    assert read_invalid_fields(await desk.admin.get(f"/tickets?requester={taken}")) == {"requester.0"}
    assert (await desk.admin.delete(f"/users/{row.id}")).status_code == 204


async def test_users_can_erase_themselves_except_the_last_admin(desk: Desk) -> None:
    other = await desk.another_admin()
    assert (await other.delete(f"/users/{other.id}")).status_code == 204
    assert_problem(await other.get("/me"), 401, "invalid_token")
    assert_problem(await desk.admin.delete(f"/users/{desk.admin.id}"), 409, "last_admin")
    ok(await desk.admin.get("/me"))

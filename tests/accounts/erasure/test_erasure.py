"""Erasing somebody: what is personal is gone, and what others need stays."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import make_url, select

from app.access.permissions import RoleKind
from app.accounts.pictures.models import Picture
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.authentication.social.models import ExternalIdentity
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.notifications import mails
from app.notifications.mails import MailDraft
from tests.accounts.crew import ADMIN, CUSTOMER, ENGINEER, a_role, events_about, hire, ok, row_of, sign_in, with_only
from tests.organisation_client import Api, Desk, create_desk, open_session
from tests.postgres import TestServer
from tests.problems import refused, wrong_fields
from tests.services import unique_email

TABLES = "SELECT table_name FROM information_schema.columns WHERE column_name = $1 AND table_schema = 'public'"
PERSONAL = ("Murasaki", "Shikibu", "Genji", "Asia/Tokyo", "ja-JP", "nosy")


async def with_everything(desk: Desk, **fields: Any) -> UserRow:
    """Somebody of whom there is a row in every table that can have one."""
    now = real_now()
    told: dict[str, Any] = {
        "first_name": "Murasaki", "last_name": "Shikibu", "bio": "Genji.", "timezone": "Asia/Tokyo", "locale": "ja-JP",
        "muted": ["TICKETS"], "picture_at": now, "email_verified_at": now, "second_factor": True, "available": True,
        "granted": ["keys:view"], "denied": ["vendors:view"], "role_id": await a_role(desk, "tickets:view"),
    }  # fmt: skip
    row = await hire(desk, **told | fields)
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


async def left_of(server: TestServer, user_id: UUID) -> dict[str, int]:
    """How many rows of every table belong to somebody, whatever tables there are."""
    url = make_url(server.superuser_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(TABLES, "user_id")
        return {
            name: await connection.fetchval(f"SELECT count(*) FROM {name} WHERE user_id = $1", user_id)
            for (name,) in tables
        }
    finally:
        await connection.close()


async def everything_written(server: TestServer, org_id: UUID) -> str:
    """All that the database holds of an organisation, as text."""
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


# --- what goes --------------------------------------------------------------------------------------------------------


async def test_nothing_that_belongs_to_them_is_left(server: TestServer, desk: Desk) -> None:
    row, other = await with_everything(desk), await with_everything(desk)
    await open_session(desk, row)
    await open_session(desk, other)
    before = await left_of(server, row.id)
    assert all(before.values()), before

    answer = await desk.admin.delete(f"/users/{row.id}")
    assert (answer.status_code, answer.content) == (204, b"")

    assert not any((await left_of(server, row.id)).values())
    assert await left_of(server, other.id) == before


async def test_the_row_says_only_that_there_was_somebody(desk: Desk) -> None:
    row = await with_everything(desk)
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


async def test_the_history_says_who_and_nothing_of_them(server: TestServer, desk: Desk) -> None:
    row = await with_everything(desk, status="PENDING")
    other = await hire(desk, status="PENDING")
    ok(await desk.admin.post(f"/users/{row.id}/reject", {"reason": "Shikibu is nosy."}))
    ok(await desk.admin.post(f"/users/{other.id}/reject", {"reason": "Unknown."}))
    ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (await desk.admin.delete(f"/users/{row.id}")).status_code == 204

    history = await events_about(desk, row.id)
    assert history[0] == ("user.rejected", {})
    assert history[-1] == ("user.erased", {})
    assert await events_about(desk, other.id) == [("user.rejected", {})]
    written = await everything_written(server, desk.id)
    assert str(row.id) in written
    assert [word for word in (*PERSONAL, row.email) if word.casefold() in written.casefold()] == []


@pytest.mark.parametrize("status", [status for status in AccountStatus if status != AccountStatus.ERASED])
async def test_anybody_can_be_erased_and_is_nowhere_afterwards(desk: Desk, status: str) -> None:
    row = await hire(desk, CUSTOMER, status=status, first_name="Zora")
    path = f"/users/{row.id}"
    assert (await desk.admin.delete(path)).status_code == 204
    for answer in (
        await desk.admin.get(path),
        await desk.admin.get(f"{path}/permissions"),
        await desk.admin.patch(path, {"status": "ACTIVE"}),
        await desk.admin.post(f"{path}/approve"),
        await desk.admin.delete(path),
    ):
        refused(answer, 404, "user_not_found")
    for query in ({}, {"q": "zora"}, {"q": "erased"}, {"role": "CUSTOMER"}):
        listed = ok(await desk.admin.get("/users", params=query))["items"]
        assert str(row.id) not in [one["id"] for one in listed]


async def test_their_tokens_stop_at_once(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    engineer = await sign_in(desk)
    ok(await engineer.get("/me"))
    assert (await desk.admin.delete(f"/users/{engineer.id}")).status_code == 204
    refused(await engineer.get("/me"), 401, "invalid_token")


@pytest.mark.parametrize("role", [ADMIN, ENGINEER])
async def test_who_may_do_no_more_and_is_no_more_can_be_erased(desk: Desk, role: RoleKind) -> None:
    row = await hire(desk, ADMIN, role_id=await a_role(desk, "tickets:view", role=ADMIN))
    few = await with_only(desk, "users:delete", "tickets:view", role=role)
    answer = await few.delete(f"/users/{row.id}")
    if role == ADMIN:
        assert answer.status_code == 204
    else:
        refused(answer, 403, "privilege_escalation")
        assert (await row_of(desk, row.id)).status == AccountStatus.ACTIVE


# --- and what comes after ---------------------------------------------------------------------------------------------


async def test_the_same_email_signs_up_again_as_somebody_new(desk: Desk) -> None:
    email = unique_email()
    first = await hire(desk, email=email)
    assert (await desk.admin.delete(f"/users/{first.id}")).status_code == 204
    second = await hire(desk, email=email)
    assert (await row_of(desk, second.id)).email == email
    assert (await desk.admin.delete(f"/users/{second.id}")).status_code == 204


async def test_nobody_is_in_the_way_of_an_erasure(desk: Desk) -> None:
    row = await hire(desk)
    taken = {"firstName": "Eve", "lastName": "Ek", "role": "CUSTOMER", "email": f"erased-{row.id}@erased.invalid"}
    assert wrong_fields(await desk.admin.post("/users", taken)) == {"email"}
    assert (await desk.admin.delete(f"/users/{row.id}")).status_code == 204


async def test_one_can_erase_oneself(desk: Desk) -> None:
    other = await desk.another_admin()
    assert (await other.delete(f"/users/{other.id}")).status_code == 204
    refused(await other.get("/me"), 401, "invalid_token")
    refused(await desk.admin.delete(f"/users/{desk.admin.id}"), 409, "last_admin")
    ok(await desk.admin.get("/me"))

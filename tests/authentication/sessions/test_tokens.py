"""Access tokens: invalid ones are refused, and valid ones stop working when their user loses access."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, update

from app.access.credential_changes import record_credential_change
from app.accounts.users.models import Credential, User
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.security.access_tokens import issue_access_token
from app.organisations.models import Organisation, SecretKey
from tests.conftest import SECRET_KEY
from tests.core.security.hostile_tokens import hostile_tokens, token
from tests.databases import eventually
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import assert_problem


def bearer(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", b"Bearer " + text.encode())]


async def test_a_token_signed_with_the_secret_key_is_valid(api: Api, desk: Desk) -> None:
    valid = token(sub=str(desk.admin.id), org=str(desk.id), sid=str(desk.admin.session_id))
    assert (await api.http.get("/me", headers=bearer(valid))).json()["id"] == str(desk.admin.id)


async def test_every_hostile_token_is_a_401(api: Api) -> None:
    for wrong, text in hostile_tokens().items():
        for path in ("/me", "/org"):
            document = assert_problem(await api.http.get(path, headers=bearer(text)), 401, "invalid_token")
            assert (
                document["detail"] == "The access token is not valid, or has expired. Refresh it or sign in again."
            ), wrong


async def test_an_oversized_token_is_refused_before_it_is_parsed(api: Api) -> None:
    assert_problem(await api.http.get("/me", headers=bearer("a" * 40_000)), 431, "headers_too_large")


@pytest.mark.parametrize("header", ["", "Bearer", "bearer ", "Basic YTpi", "Token x", "OrgSecret tsk_x"])
async def test_a_missing_token_is_a_401_with_the_accepted_schemes(api: Api, header: str) -> None:
    answer = await api.http.get("/me", headers={"Authorization": header})
    assert_problem(answer, 401, "invalid_token" if header.lower().startswith("bearer") else "missing_credential")
    assert answer.headers["www-authenticate"] == 'Bearer realm="tessera"'


async def test_the_case_of_the_scheme_is_ignored(api: Api, desk: Desk) -> None:
    text = desk.admin.headers["Authorization"].removeprefix("Bearer ")
    assert (await api.http.get("/me", headers={"Authorization": f"bEARER  {text}"})).status_code == 200


async def test_a_token_is_valid_only_in_the_organisation_of_its_user(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    for org in (other.id, uuid4()):
        foreign = issue_access_token(
            SECRET_KEY,
            user_id=desk.admin.id,
            org_id=org,
            session_id=desk.admin.session_id,
            role="ADMIN",
            now=real_now(),
            session_expires_at=real_now() + timedelta(days=1),
        )
        assert_problem(await api.http.get("/me", headers=bearer(foreign)), 401, "invalid_token")
    unknown_user = issue_access_token(
        SECRET_KEY,
        user_id=uuid4(),
        org_id=desk.id,
        session_id=desk.admin.session_id,
        role="ADMIN",
        now=real_now(),
        session_expires_at=real_now() + timedelta(days=1),
    )
    assert_problem(await api.http.get("/me", headers=bearer(unknown_user)), 401, "invalid_token")


async def test_a_token_that_expires_while_it_is_cached_is_refused(api: Api, desk: Desk) -> None:
    expires_at = int(time.time()) + 3
    text = token(sub=str(desk.admin.id), org=str(desk.id), sid=str(desk.admin.session_id), exp=expires_at)
    assert (await api.http.get("/me", headers=bearer(text))).status_code == 200
    await asyncio.sleep(expires_at - time.time())
    assert_problem(await api.http.get("/me", headers=bearer(text)), 401, "invalid_token")


async def suspend(database: Database, org_id: UUID, user_id: UUID) -> None:
    async with database.session(org_id) as db:
        conditions = (User.org_id == org_id, User.id == user_id)
        await db.execute(update(User).where(*conditions).values(status="SUSPENDED"))
        record_credential_change(db, org_id, user_id)


async def erase(database: Database, org_id: UUID, user_id: UUID) -> None:
    async with database.session(org_id) as db:
        await db.execute(delete(Credential).where(Credential.org_id == org_id, Credential.user_id == user_id))
        await db.execute(update(User).where(User.org_id == org_id, User.id == user_id).values(status="ERASED"))
        record_credential_change(db, org_id, user_id)


async def suspend_organisation(database: Database, org_id: UUID) -> None:
    async with database.session(org_id) as db:
        await db.execute(update(Organisation).where(Organisation.id == org_id).values(status="SUSPENDED"))
        record_credential_change(db, org_id)


async def revoke_secret(database: Database, org_id: UUID) -> None:
    async with database.session(org_id) as db:
        condition = SecretKey.org_id == org_id
        await db.execute(update(SecretKey).where(condition).values(revoked_at=real_now()))
        record_credential_change(db, org_id)


async def test_revoked_access_ends_within_five_seconds(api: Api, database: Database) -> None:
    """As another process ends it. Credentials are cached outside sandboxes only."""
    one, two, three = [await create_desk(api, database, sandbox=False) for _ in range(3)]
    suspended, erased = await one.another_admin("sue@growfin.test"), await one.another_admin("eve@growfin.test")
    untouched = one.admin
    secret_of = {desk.id: {"X-Org-Secret": desk.secret} for desk in (one, two, three)}
    for headers in (suspended.headers, erased.headers, untouched.headers, two.admin.headers, *secret_of.values()):
        assert (await api.http.get("/org", headers=headers)).status_code == 200

    await suspend(database, one.id, suspended.id)
    await erase(database, one.id, erased.id)
    await suspend_organisation(database, two.id)
    await revoke_secret(database, three.id)

    async def is_revoked() -> bool:
        return (await api.http.get("/org", headers=secret_of[three.id])).status_code == 401

    assert await eventually(is_revoked, within=3)

    for headers in (suspended.headers, erased.headers, two.admin.headers):
        assert_problem(await api.http.get("/org", headers=headers), 401, "invalid_token")
    for org_id in (two.id, three.id):
        assert_problem(await api.http.get("/org", headers=secret_of[org_id]), 401, "invalid_secret_key")
    for headers in (untouched.headers, three.admin.headers, secret_of[one.id]):
        assert (await api.http.get("/org", headers=headers)).status_code == 200


async def test_revoked_access_to_a_sandbox_ends_at_once(api: Api, database: Database, desk: Desk) -> None:
    user = await desk.another_admin()
    assert (await user.get("/me")).status_code == 200
    await suspend(database, desk.id, user.id)
    assert_problem(await user.get("/me"), 401, "invalid_token")
    await revoke_secret(database, desk.id)
    assert_problem(await api.http.get("/org", headers={"X-Org-Secret": desk.secret}), 401, "invalid_secret_key")

"""Changes of credentials are recorded and reach all processes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, update

from app.access.credential_changes import RETENTION, record_credential_change
from app.access.models import CredentialChange
from app.access.tenant import Tenant
from app.authentication.sessions.models import Session
from app.authentication.sessions.queries import find_principal
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.security.secret_keys import hash_secret_key
from app.organisations.queries import find_by_secret_hash
from app.worker import JOBS, Worker
from tests.access.requests import REQUESTS
from tests.access.table import STATUSES
from tests.access.world import PASSWORD as PASSWORD_OF_WORLD
from tests.access.world import create_world
from tests.conftest import settings_for
from tests.databases import eventually
from tests.docs.openapi import OPERATIONS
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem
from tests.services import Start, create_user, unique_email

CHANGING = {op.definition["operationId"]: op.method for op in OPERATIONS if op.method != "GET"}
# Operations that certainly change what credentials allow: the test below must notice each.
KNOWN_CHANGES = {
    "changeOrganisation", "signOut", "signOutEverywhere", "endMySession", "resetPassword", "confirmSecondFactor",
    "changeUser", "disableSecondFactor", "resetUserSecondFactor", "setUserRole", "setUserPermissions",
    "eraseUser", "changeMe", "reauthenticate", "confirmOrganisationDomain",
}  # fmt: skip

Allowed = dict[UUID | str, tuple[UUID | None, object]]

# --- every operation records what it changes -------------------------------------------------------------------------


async def read_allowed(database: Database, org_id: UUID, secrets: list[str]) -> Allowed:
    """Return what each session and secret key of an organisation allows, with the user of the session."""
    async with database.session(org_id) as db:
        sessions = (await db.scalars(select(Session).where(Session.org_id == org_id))).all()
    allowed: Allowed = {}
    async with database.driver(org_id) as driver:
        for session in sessions:
            found = await find_principal(driver, org_id, session.user_id, session.id, real_now())
            allowed[session.id] = session.user_id, found and (without_clock(found[0]), found[1])
    for secret in secrets:
        tenant = await find_by_secret_hash(database, hash_secret_key(secret))
        allowed[secret] = None, tenant and without_clock(tenant)
    return allowed


def without_clock(tenant: Tenant) -> Tenant:
    """Return the organisation without its clock, which moves in sandboxes only. These are not cached."""
    return replace(tenant, clock_offset=timedelta(0))


async def read_changes(database: Database, org_id: UUID) -> set[UUID | None]:
    """Return the users whose credentials changed by the records; `None` for all of the organisation."""
    async with database.session(None) as db:
        return set(await db.scalars(select(CredentialChange.user_id).where(CredentialChange.org_id == org_id)))


async def forget_changes(database: Database, org_id: UUID) -> None:
    async with database.session(None) as db:
        await db.execute(delete(CredentialChange).where(CredentialChange.org_id == org_id))


@pytest.mark.parametrize("operation", CHANGING)
async def test_an_operation_records_what_it_changes(api: Api, database: Database, desk: Desk, operation: str) -> None:
    world = await create_world(desk)
    column = next(column for column, status in STATUSES[operation].items() if status < 300)
    caller = await world.create_caller(column)
    request = await REQUESTS[operation](world, caller)
    before = await read_allowed(database, desk.id, [desk.secret])
    await forget_changes(database, desk.id)

    answer = await api.http.request(
        CHANGING[operation], request.path, json=request.body, files=request.files, headers=world.headers(column, caller)
    )

    assert answer.status_code < 300, answer.text
    after = await read_allowed(database, desk.id, [desk.secret])
    changed = {user for key, (user, allowed) in before.items() if after.get(key, (None, None))[1] != allowed}
    recorded = await read_changes(database, desk.id)
    assert None in recorded or changed <= recorded
    assert changed or operation not in KNOWN_CHANGES


async def test_a_changed_password_is_recorded_since_it_ends_other_sessions(database: Database, desk: Desk) -> None:
    world = await create_world(desk)
    user = await world.create_user()
    body = {"currentPassword": PASSWORD_OF_WORLD, "newPassword": "walnut-otter-83-kite"}
    assert (await user.post("/auth/password/change", body)).status_code == 204
    assert await read_changes(database, desk.id) == {user.id}


async def test_changed_permissions_of_a_role_are_recorded(database: Database, desk: Desk) -> None:
    world = await create_world(desk)
    auditor = await world.create_caller("auditor")
    assert auditor is not None
    changed = {"permissions": [{"resource": "tickets", "view": True}]}
    assert (await desk.admin.patch(f"/roles/{world.role_id}", changed)).status_code == 200
    assert (await auditor.get("/users")).status_code == 403
    assert await read_changes(database, desk.id) == {None}


async def test_signing_out_with_a_refresh_token_is_recorded(api: Api, database: Database, desk: Desk) -> None:
    email = unique_email()
    await create_user(desk, email)
    signed_in = (await api.http.post("/auth/signin", json={"email": email, "password": PASSWORD})).json()
    answer = await api.http.post("/auth/signout", json={"refreshToken": signed_in["refreshToken"]})
    assert answer.status_code == 204
    assert await read_changes(database, desk.id) == {UUID(signed_in["user"]["id"])}


async def test_a_session_that_ends_because_its_token_was_stolen_is_recorded(
    api: Api, database: Database, desk: Desk
) -> None:
    email = unique_email()
    await create_user(desk, email)
    signed_in = (await api.http.post("/auth/signin", json={"email": email, "password": PASSWORD})).json()
    body = {"refreshToken": signed_in["refreshToken"]}
    assert (await api.http.post("/auth/refresh", json=body)).status_code == 200
    async with database.session(desk.id) as db:  # as if the window for retries were over
        await db.execute(
            update(Session).where(Session.org_id == desk.id).values(rotated_at=real_now() - timedelta(hours=1))
        )

    assert_problem(await api.http.post("/auth/refresh", json=body), 401, "invalid_refresh_token")

    assert await read_changes(database, desk.id) == {UUID(signed_in["user"]["id"])}


# --- other processes read the changes --------------------------------------------------------------------------------


async def test_a_change_in_one_process_takes_effect_in_others_within_five_seconds(
    database: Database, start: Start
) -> None:
    one, other = (await start()).api, (await start()).api
    desk = await create_desk(one, database, sandbox=False)  # sandboxes are not cached
    user = await desk.another_admin()
    there = replace(user, http=other.http)
    assert (await there.get("/me")).json()["firstName"] != "Zoë"

    await user.patch("/me", {"firstName": "Zoë"})

    async def is_renamed() -> bool:
        return bool((await there.get("/me")).json()["firstName"] == "Zoë")

    async def is_signed_out() -> bool:
        return (await there.get("/me")).status_code == 401

    assert await eventually(is_renamed, within=3), "sooner than a lookup expires by itself"
    assert (await desk.admin.patch(f"/users/{user.id}", {"status": "SUSPENDED"})).status_code == 200
    assert await eventually(is_signed_out, within=3)


async def test_an_allowed_origin_can_read_the_responses_of_all_processes_within_five_seconds(
    database: Database, start: Start
) -> None:
    one, other = (await start()).api, (await start()).api
    desk = await create_desk(one, database, sandbox=False)
    origin = f"https://{uuid4().hex}.example"

    async def is_readable(api: Api) -> bool:
        answer = await api.http.get("/tickets", headers=desk.admin.headers | {"Origin": origin})
        return bool(answer.headers.get("access-control-allow-origin") == origin)

    assert not await is_readable(one)
    assert not await is_readable(other)
    assert (await desk.admin.patch("/org", {"allowedOrigins": [origin]})).status_code == 200
    assert await is_readable(one)
    assert await eventually(partial(is_readable, other), within=3)


# --- housekeeping ----------------------------------------------------------------------------------------------------


async def test_housekeeping_deletes_changes_that_every_process_has_read(
    database: Database, desk: Desk, server: TestServer
) -> None:
    old, new = uuid4(), uuid4()
    async with database.session(None) as db:
        record_credential_change(db, desk.id, old)
        record_credential_change(db, desk.id, new)
        await db.flush()
        before = real_now() - RETENTION - timedelta(minutes=1)
        await db.execute(update(CredentialChange).where(CredentialChange.user_id == old).values(created_at=before))

    await JOBS["housekeeping"].run(Worker(settings_for(server), database))

    assert await read_changes(database, desk.id) == {new}

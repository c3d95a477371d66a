"""An admin resets the second factor of a user who has lost their authenticator and their recovery codes."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from app.authentication.second_factor.codes import sealing_purpose
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.core.database.pool import Database
from app.core.security.sealing import seal
from tests.accounts.users_and_roles import (
    ADMIN,
    CUSTOMER,
    ENGINEER,
    add_user_with_permissions,
    list_events,
    ok,
    read_row,
)
from tests.authentication.second_factor.authenticators import (
    ProtectedUser,
    create_protected_user,
    create_unprotected_user,
    set_up,
)
from tests.notifications.users import read_mails_to, relay_events
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem


@pytest.fixture
async def protected(desk: Desk) -> ProtectedUser:
    return await create_protected_user(desk)


def path_of(protected: ProtectedUser) -> str:
    return f"/users/{protected.user.id}/2fa"


async def reset(by: SignedInUser, protected: ProtectedUser) -> None:
    answer = await by.delete(path_of(protected))
    assert (answer.status_code, answer.content) == (204, b"")


async def test_the_user_signs_in_with_the_password_and_can_set_up_another(desk: Desk, protected: ProtectedUser) -> None:
    assert_problem(await protected.sign_in(), 401, "totp_required")

    await reset(desk.admin, protected)

    body = ok(await protected.sign_in())
    assert body["user"]["secondFactor"] is False
    protected.user.headers["Authorization"] = f"Bearer {body['jwt']}"
    new = await set_up(protected.user)
    assert new.secret != protected.authenticator.secret
    assert (await protected.user.post("/auth/2fa/confirm", {"code": new.code()})).status_code == 200
    assert_problem(await protected.sign_in(totp=protected.authenticator.code(1)), 401, "totp_invalid")


async def test_a_reset_deletes_the_secret_and_the_recovery_codes(desk: Desk, protected: ProtectedUser) -> None:
    await reset(desk.admin, protected)

    async with desk.database.session(desk.id) as db:
        for table in (SecondFactor, RecoveryCode):
            conditions = (table.org_id == desk.id, table.user_id == protected.user.id)
            assert await db.scalar(select(func.count()).select_from(table).where(*conditions)) == 0


async def test_a_reset_ends_sessions_at_once_and_is_mailed(desk: Desk, protected: ProtectedUser) -> None:
    ok(await protected.user.get("/me"))
    await relay_events(desk)
    before = len(await read_mails_to(desk, protected.user.email))

    await reset(desk.admin, protected)

    assert_problem(await protected.user.get("/me"), 401, "invalid_token")
    assert (await list_events(desk, protected.user.id))[-1] == ("user.second_factor_disabled", {})
    await relay_events(desk)
    told = (await read_mails_to(desk, protected.user.email))[before:]
    assert [mail.subject for mail in told] == ["[Growfin] Your second factor was removed"]


async def test_a_secret_encrypted_with_another_key_can_be_reset(desk: Desk, protected: ProtectedUser) -> None:
    sealed = seal("another key", sealing_purpose(protected.user.id), protected.authenticator.secret.encode())
    async with desk.database.session(desk.id) as db:
        conditions = (SecondFactor.org_id == desk.id, SecondFactor.user_id == protected.user.id)
        await db.execute(update(SecondFactor).where(*conditions).values(secret=sealed))
    with capture_logs() as lines:
        assert_problem(await protected.sign_in(totp=protected.authenticator.code(1)), 401, "totp_invalid")
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["second_factor_unreadable"]

    await reset(desk.admin, protected)

    ok(await protected.sign_in())


async def test_a_mandatory_second_factor_must_be_set_up_again(desk: Desk, protected: ProtectedUser) -> None:
    admin = await create_protected_user(desk, ADMIN)
    ok(await admin.user.patch("/org", {"require2fa": True}))

    await reset(admin.user, protected)

    body = ok(await protected.sign_in())
    protected.user.headers["Authorization"] = f"Bearer {body['jwt']}"
    assert_problem(await protected.user.get("/tickets"), 403, "second_factor_required")
    assert (await protected.user.post("/auth/2fa/setup")).status_code == 200


async def test_an_unconfirmed_second_factor_cannot_be_reset(desk: Desk) -> None:
    user = await create_unprotected_user(desk)
    await set_up(user)  # not confirmed
    problem = assert_problem(await desk.admin.delete(f"/users/{user.id}/2fa"), 409, "second_factor_not_set_up")
    assert problem["detail"] == "The user has no second factor."


async def test_an_admin_cannot_reset_their_own_second_factor(desk: Desk) -> None:
    admin = await create_protected_user(desk, ADMIN)
    problem = assert_problem(await admin.user.delete(path_of(admin)), 403, "privilege_escalation")
    assert "POST /auth/2fa/disable" in problem["detail"]
    assert (await read_row(desk, admin.user.id)).second_factor


async def test_a_user_cannot_reset_the_second_factor_of_a_higher_ranking_user(desk: Desk) -> None:
    admin, customer = await create_protected_user(desk, ADMIN), await create_protected_user(desk, CUSTOMER)
    editor = await add_user_with_permissions(desk, "users:update", role=ENGINEER)
    assert_problem(await editor.delete(path_of(admin)), 403, "privilege_escalation")
    assert_problem(await customer.user.delete(path_of(admin)), 403, "permission_required")
    assert (await read_row(desk, admin.user.id)).second_factor


async def test_an_admin_of_another_organisation_finds_no_user(
    desk: Desk, api: Api, database: Database, protected: ProtectedUser
) -> None:
    stranger = (await create_desk(api, database)).admin
    assert_problem(await stranger.delete(path_of(protected)), 404, "user_not_found")
    assert (await read_row(desk, protected.user.id)).second_factor

"""An admin lets somebody in who has lost their authenticator and their recovery codes."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.authentication.second_factor.service import sealing_purpose
from app.core.database.pool import Database
from app.core.security.sealing import seal
from tests.accounts.crew import ADMIN, CUSTOMER, ENGINEER, events_about, ok, row_of, with_only
from tests.authentication.second_factor.authenticators import Protected, protected, set_up, unprotected
from tests.notifications.users import deliveries_to, relay_events
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import refused


@pytest.fixture
async def somebody(desk: Desk) -> Protected:
    return await protected(desk)


def path_of(somebody: Protected) -> str:
    return f"/users/{somebody.user.id}/2fa"


async def reset(by: SignedInUser, somebody: Protected) -> None:
    answer = await by.delete(path_of(somebody))
    assert (answer.status_code, answer.content) == (204, b"")


async def test_the_password_is_enough_then_and_another_can_be_set_up(desk: Desk, somebody: Protected) -> None:
    refused(await somebody.sign_in(), 401, "totp_required")

    await reset(desk.admin, somebody)

    said = ok(await somebody.sign_in())
    assert said["user"]["secondFactor"] is False
    somebody.user.headers["Authorization"] = f"Bearer {said['jwt']}"
    new = await set_up(somebody.user)
    assert new.secret != somebody.authenticator.secret
    assert (await somebody.user.post("/auth/2fa/confirm", {"code": new.code()})).status_code == 200
    refused(await somebody.sign_in(totp=somebody.authenticator.code(1)), 401, "totp_invalid")


async def test_nothing_of_it_is_left(desk: Desk, somebody: Protected) -> None:
    await reset(desk.admin, somebody)

    async with desk.database.session(desk.id) as db:
        for table in (SecondFactor, RecoveryCode):
            which = (table.org_id == desk.id, table.user_id == somebody.user.id)
            assert await db.scalar(select(func.count()).select_from(table).where(*which)) == 0


async def test_they_are_signed_out_at_once_and_told(desk: Desk, somebody: Protected) -> None:
    ok(await somebody.user.get("/me"))
    await relay_events(desk)
    before = len(await deliveries_to(desk, somebody.user.email))

    await reset(desk.admin, somebody)

    refused(await somebody.user.get("/me"), 401, "invalid_token")
    assert (await events_about(desk, somebody.user.id))[-1] == ("user.second_factor_disabled", {})
    await relay_events(desk)
    told = (await deliveries_to(desk, somebody.user.email))[before:]
    assert [mail.subject for mail in told] == ["[Growfin] Your second factor was removed"]


async def test_one_that_was_sealed_with_another_key_is_a_matter_of_this_too(desk: Desk, somebody: Protected) -> None:
    sealed = seal("another key", sealing_purpose(somebody.user.id), somebody.authenticator.secret.encode())
    async with desk.database.session(desk.id) as db:
        which = (SecondFactor.org_id == desk.id, SecondFactor.user_id == somebody.user.id)
        await db.execute(update(SecondFactor).where(*which).values(secret=sealed))
    with capture_logs() as lines:
        refused(await somebody.sign_in(totp=somebody.authenticator.code(1)), 401, "totp_invalid")
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["second_factor_unreadable"]

    await reset(desk.admin, somebody)

    ok(await somebody.sign_in())


async def test_where_it_is_required_they_set_up_another_before_anything_else(desk: Desk, somebody: Protected) -> None:
    boss = await protected(desk, ADMIN)
    ok(await boss.user.patch("/org", {"require2fa": True}))

    await reset(boss.user, somebody)

    said = ok(await somebody.sign_in())
    somebody.user.headers["Authorization"] = f"Bearer {said['jwt']}"
    refused(await somebody.user.get("/tickets"), 403, "second_factor_required")
    assert (await somebody.user.post("/auth/2fa/setup")).status_code == 200


async def test_who_has_none_has_nothing_to_reset(desk: Desk) -> None:
    user = await unprotected(desk)
    await set_up(user)  # not confirmed
    problem = refused(await desk.admin.delete(f"/users/{user.id}/2fa"), 409, "second_factor_not_set_up")
    assert problem["detail"] == "The user has no second factor."


async def test_nobody_resets_their_own(desk: Desk) -> None:
    boss = await protected(desk, ADMIN)
    problem = refused(await boss.user.delete(path_of(boss)), 403, "privilege_escalation")
    assert "POST /auth/2fa/disable" in problem["detail"]
    assert (await row_of(desk, boss.user.id)).second_factor


async def test_nobody_resets_that_of_somebody_above_them(desk: Desk) -> None:
    boss, customer = await protected(desk, ADMIN), await protected(desk, CUSTOMER)
    clerk = await with_only(desk, "users:update", role=ENGINEER)
    refused(await clerk.delete(path_of(boss)), 403, "privilege_escalation")
    refused(await customer.user.delete(path_of(boss)), 403, "permission_required")
    assert (await row_of(desk, boss.user.id)).second_factor


async def test_strangers_find_nobody(desk: Desk, api: Api, database: Database, somebody: Protected) -> None:
    stranger = (await create_desk(api, database)).admin
    refused(await stranger.delete(path_of(somebody)), 404, "user_not_found")
    assert (await row_of(desk, somebody.user.id)).second_factor

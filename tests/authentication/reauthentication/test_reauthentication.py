"""Proving again, in a session, who the user is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import httpx
import pytest

from app.access.attempt_limits import Limit
from app.access.user_permissions import Action, Resource, permission
from app.accounts.roles.rules import ADMIN as ADMIN_ROLE
from app.accounts.roles.rules import ENGINEER as ENGINEER_ROLE
from app.core.clock import real_now
from app.core.database.pool import Database
from tests.accounts.users_and_roles import ADMIN, ENGINEER, add_role, add_signed_in_user, add_user, ok
from tests.authentication.account_state import age_session, remove_password, update_user
from tests.authentication.second_factor.authenticators import create_protected_user
from tests.organisation_client import PASSWORD, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, create_user, unique_email

REQUIRED = "reauthentication_required"
USERS_UPDATE = permission(Resource.USERS, Action.UPDATE)


async def prove(user: SignedInUser, password: str = PASSWORD, **more: str) -> httpx.Response:
    return await user.post("/auth/reauthenticate", {"password": password, **more})


@pytest.fixture
async def stale(desk: Desk) -> SignedInUser:
    """An admin who signed in six minutes ago."""
    user = await create_user(desk)
    await update_user(desk, user.id, email_verified_at=real_now())
    await age_session(desk, user.session_id)
    return user


async def test_the_password_makes_the_session_fresh_for_five_minutes(stale: SignedInUser, desk: Desk) -> None:
    problem = assert_problem(await stale.post("/auth/2fa/setup"), 403, REQUIRED)
    assert "POST /auth/reauthenticate" in problem["title"]

    fresh_until = datetime.fromisoformat(ok(await prove(stale))["freshUntil"])

    assert abs(fresh_until - real_now() - timedelta(minutes=5)) < timedelta(seconds=10)
    assert (await stale.post("/auth/2fa/setup")).status_code == 200
    await age_session(desk, stale.session_id)
    assert_problem(await stale.post("/auth/2fa/setup"), 403, REQUIRED)


async def test_another_session_of_the_user_does_not_become_fresh(api: Api, stale: SignedInUser) -> None:
    signed_in = ok(await api.http.post("/auth/signin", json={"email": stale.email, "password": PASSWORD}))
    other = SignedInUser(
        stale.id, stale.email, api.http, {"Authorization": f"Bearer {signed_in['jwt']}"}, stale.session_id
    )
    ok(await prove(other))
    assert_problem(await stale.post("/auth/2fa/setup"), 403, REQUIRED)
    assert (await other.post("/auth/2fa/setup")).status_code == 200, "a sign-in is fresh"


async def test_refreshing_the_tokens_makes_nothing_fresh(api: Api, desk: Desk) -> None:
    user = await create_user(desk)
    signed_in = ok(await api.http.post("/auth/signin", json={"email": user.email, "password": PASSWORD}))
    session_id = next(
        one["id"]
        for one in ok(await api.http.get("/me/sessions", headers={"Authorization": f"Bearer {signed_in['jwt']}"}))[
            "items"
        ]
        if one["current"]
    )
    await age_session(desk, UUID(session_id))
    refreshed = ok(await api.http.post("/auth/refresh", json={"refreshToken": signed_in["refreshToken"]}))
    answer = await api.http.post("/auth/2fa/setup", headers={"Authorization": f"Bearer {refreshed['jwt']}"})
    assert_problem(answer, 403, REQUIRED)


async def test_a_wrong_password_is_refused(stale: SignedInUser) -> None:
    assert_problem(await prove(stale, "another-heron-48-lamp"), 403, "wrong_password")
    assert_problem(await stale.post("/auth/2fa/setup"), 403, REQUIRED)


async def test_guesses_are_limited(database: Database, start: Start) -> None:
    api = (await start(sign_in_failure_limit="3/minute")).api
    desk = await create_desk(api, database)
    user = await create_user(desk)
    for _ in range(3):
        assert_problem(await prove(user, "another-heron-48-lamp"), 403, "wrong_password")
    answer = await prove(user)
    assert_problem(answer, 429, "rate_limited")
    assert Limit.SIGN_IN in answer.headers["ratelimit-policy"] or "failures" in answer.headers["ratelimit-policy"]


async def test_an_account_without_a_password_signs_in_at_its_provider_again(desk: Desk, stale: SignedInUser) -> None:
    await remove_password(desk, stale.id)
    problem = assert_problem(await prove(stale), 409, "no_password")
    assert "sign in at your provider again" in problem["detail"]


async def test_a_user_with_a_second_factor_sends_a_code_too(desk: Desk) -> None:
    protected = await create_protected_user(desk)
    user = protected.user
    await age_session(desk, user.session_id)

    assert read_invalid_fields(await prove(user)) == {"totp"}
    assert_problem(await prove(user, totp=protected.authenticator.wrong_code), 403, "wrong_code")
    assert_problem(await user.post("/auth/2fa/disable", {"code": "000000"}), 403, REQUIRED)
    ok(await prove(user, recoveryCode=protected.recovery_codes[0]))
    answer = await user.post("/auth/2fa/disable", {"recoveryCode": protected.recovery_codes[1]})
    assert answer.status_code == 204


async def test_a_session_that_became_fresh_in_another_process_is_fresh_at_once(
    database: Database, start: Start
) -> None:
    one, other = (await start()).api, (await start()).api
    desk = await create_desk(one, database, sandbox=False)  # sandboxes are not cached
    user = await create_user(desk)
    await update_user(desk, user.id, email_verified_at=real_now())
    await age_session(desk, user.session_id)
    there = SignedInUser(user.id, user.email, other.http, user.headers, user.session_id)
    assert_problem(await there.post("/auth/2fa/setup"), 403, REQUIRED)

    ok(await prove(user))

    assert (await there.post("/auth/2fa/setup")).status_code == 200


# --- what a stolen access token of an admin cannot do -----------------------------------------------------------------

Act = Callable[[SignedInUser, Desk], Awaitable[httpx.Response]]


async def _invite_admin(caller: SignedInUser, _desk: Desk) -> httpx.Response:
    body = {"firstName": "Eve", "lastName": "Evil", "email": unique_email(), "role": "ADMIN"}
    return await caller.post("/users", body)


async def _approve_admin(caller: SignedInUser, desk: Desk) -> httpx.Response:
    return await caller.post(f"/users/{(await add_user(desk, ADMIN, status='PENDING')).id}/approve")


async def _suspend_admin(caller: SignedInUser, desk: Desk) -> httpx.Response:
    return await caller.patch(f"/users/{(await add_user(desk, ADMIN)).id}", {"status": "SUSPENDED"})


async def _reactivate_admin(caller: SignedInUser, desk: Desk) -> httpx.Response:
    return await caller.patch(f"/users/{(await add_user(desk, ADMIN, status='SUSPENDED')).id}", {"status": "ACTIVE"})


async def _make_admin(caller: SignedInUser, desk: Desk) -> httpx.Response:
    return await caller.patch(f"/users/{(await add_user(desk)).id}", {"role": "ADMIN"})


async def _set_role_of_admins(caller: SignedInUser, desk: Desk) -> httpx.Response:
    return await caller.put(f"/users/{(await add_user(desk)).id}/role", {"roleId": str(ADMIN_ROLE.id)})


async def _set_role_that_amounts_to_admin(caller: SignedInUser, desk: Desk) -> httpx.Response:
    role_id = await add_role(desk, USERS_UPDATE)
    return await caller.put(f"/users/{(await add_user(desk)).id}/role", {"roleId": str(role_id)})


async def _grant_permission_over_users(caller: SignedInUser, desk: Desk) -> httpx.Response:
    body = {"granted": [{"resource": "users", "update": True}], "denied": []}
    return await caller.put(f"/users/{(await add_user(desk)).id}/permissions", body)


async def _demote_admin(caller: SignedInUser, desk: Desk) -> httpx.Response:
    return await caller.put(f"/users/{(await add_user(desk, ADMIN)).id}/role", {"roleId": str(ENGINEER_ROLE.id)})


async def _raise_role(caller: SignedInUser, desk: Desk) -> httpx.Response:
    role_id = await add_role(desk, "tickets:view")
    body = {"permissions": [{"resource": "roles", "view": True, "create": True, "update": True, "delete": True}]}
    return await caller.patch(f"/roles/{role_id}", body)


async def _erase(caller: SignedInUser, desk: Desk) -> httpx.Response:
    return await caller.delete(f"/users/{(await add_user(desk)).id}")


async def _reset_second_factor(caller: SignedInUser, desk: Desk) -> httpx.Response:
    protected = await create_protected_user(desk)
    return await caller.delete(f"/users/{protected.user.id}/2fa")


async def _prove_domain(caller: SignedInUser, _desk: Desk) -> httpx.Response:
    return await caller.post("/org/domain/verify", {"method": "EMAIL", "domain": "evil.example"})


@pytest.mark.parametrize(
    "act",
    [
        _invite_admin, _approve_admin, _suspend_admin, _reactivate_admin, _make_admin, _set_role_of_admins,
        _set_role_that_amounts_to_admin, _grant_permission_over_users, _demote_admin, _raise_role, _erase,
        _reset_second_factor, _prove_domain,
    ],
    ids=lambda act: act.__name__.strip("_"),
)  # fmt: skip
async def test_who_is_an_admin_changes_only_after_a_fresh_sign_in(desk: Desk, stale: SignedInUser, act: Act) -> None:
    assert_problem(await act(stale, desk), 403, REQUIRED)
    ok(await prove(stale))
    answer = await act(stale, desk)
    assert answer.status_code in {200, 201, 204}, answer.text


async def test_everyday_work_needs_no_fresh_sign_in(desk: Desk, stale: SignedInUser) -> None:
    engineer, pending = await add_user(desk), await add_user(desk, ENGINEER, status="PENDING")
    body = {"firstName": "Bo", "lastName": "Berg", "email": unique_email(), "role": "ENGINEER"}
    assert (await stale.post("/users", body)).status_code == 201
    ok(await stale.post(f"/users/{pending.id}/approve"))
    ok(await stale.patch(f"/users/{engineer.id}", {"status": "SUSPENDED"}))
    ok(await stale.patch(f"/users/{desk.admin.id}", {"available": False}))
    ok(await stale.patch("/org", {"autoCloseDays": 9, "name": "Growfin Two", "timezone": "Europe/Berlin"}))


async def test_an_account_without_a_password_changes_its_email_only_after_a_fresh_sign_in(
    desk: Desk, stale: SignedInUser
) -> None:
    await remove_password(desk, stale.id)
    answer = await stale.post("/auth/email/change", {"email": unique_email()})
    assert_problem(answer, 403, REQUIRED)


async def test_a_password_in_the_request_counts_as_fresh(stale: SignedInUser) -> None:
    answer = await stale.post("/auth/email/change", {"email": unique_email(), "password": PASSWORD})
    assert answer.status_code == 202
    body = {"currentPassword": PASSWORD, "newPassword": "amber-otter-58-desk"}
    assert (await stale.post("/auth/password/change", body)).status_code == 204


async def test_an_engineer_with_permissions_over_users_is_an_admin_of_sorts(desk: Desk) -> None:
    engineer = await add_signed_in_user(desk, ENGINEER, granted=[USERS_UPDATE])
    await age_session(desk, engineer.session_id)
    other = await add_user(desk, granted=[USERS_UPDATE])
    assert_problem(await engineer.patch(f"/users/{other.id}", {"status": "SUSPENDED"}), 403, REQUIRED)

"""What a user proves before a second factor can be set up, changed or removed."""

from __future__ import annotations

import pytest

from app.accounts.single_use_links.models import LinkPurpose
from tests.accounts.users_and_roles import ok
from tests.authentication.account_state import age_session, latest_token, update_user, verify_email
from tests.authentication.second_factor.authenticators import (
    ProtectedUser,
    create_protected_user,
    create_unprotected_user,
    set_up,
)
from tests.organisation_client import Api, Desk
from tests.problems import assert_problem


@pytest.fixture
async def protected(desk: Desk) -> ProtectedUser:
    return await create_protected_user(desk)


async def test_the_email_must_be_verified_first(api: Api, desk: Desk) -> None:
    user = await create_unprotected_user(desk)
    await update_user(desk, user.id, email_verified_at=None)
    problem = assert_problem(await user.post("/auth/2fa/setup"), 403, "email_not_verified")
    assert "POST /auth/email/resend" in problem["detail"]

    asked = await api.http.post("/auth/email/resend", json={"email": user.email})
    assert asked.status_code == 202
    token = await latest_token(desk, user.id, LinkPurpose.VERIFY_EMAIL)
    assert (await verify_email(api.http, token)).status_code == 200
    await set_up(user)


async def test_a_mandatory_second_factor_does_not_keep_the_email_from_being_verified(api: Api, desk: Desk) -> None:
    assert (await desk.admin.patch("/org", {"require2fa": True})).status_code == 200
    user = await create_unprotected_user(desk)
    await update_user(desk, user.id, email_verified_at=None)
    assert_problem(await user.get("/tickets"), 403, "second_factor_required")
    assert_problem(await user.post("/auth/2fa/setup"), 403, "email_not_verified")

    assert (await api.http.post("/auth/email/resend", json={"email": user.email})).status_code == 202
    token = await latest_token(desk, user.id, LinkPurpose.VERIFY_EMAIL)
    assert (await verify_email(api.http, token)).status_code == 200

    authenticator = await set_up(user)
    ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
    assert (await user.get("/tickets")).status_code == 200


async def test_a_secret_from_before_the_email_had_to_be_verified_is_not_confirmed(desk: Desk) -> None:
    user = await create_unprotected_user(desk)
    authenticator = await set_up(user)
    await update_user(desk, user.id, email_verified_at=None)
    answer = await user.post("/auth/2fa/confirm", {"code": authenticator.code()})
    assert_problem(answer, 403, "email_not_verified")


async def test_a_stolen_access_token_is_not_enough(desk: Desk) -> None:
    user = await create_unprotected_user(desk)
    await age_session(desk, user.session_id)
    assert_problem(await user.post("/auth/2fa/setup"), 403, "reauthentication_required")


async def test_a_stolen_access_token_cannot_guess_codes_of_its_owner(protected: ProtectedUser, desk: Desk) -> None:
    await age_session(desk, protected.user.session_id)
    for path in ("/auth/2fa/disable", "/auth/2fa/recovery-codes"):
        for _ in range(6):
            answer = await protected.user.post(path, {"code": protected.authenticator.wrong_code})
            assert_problem(answer, 403, "reauthentication_required")
    ok(await protected.sign_in(totp=protected.authenticator.code(1)))

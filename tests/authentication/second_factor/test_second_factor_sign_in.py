"""Signing in with a second factor, and the limits on wrong codes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.authentication.second_factor.errors import TotpRequired
from tests.accounts.users_and_roles import ok
from tests.authentication.second_factor.authenticators import (
    Authenticator,
    ProtectedUser,
    create_protected_user,
    create_unprotected_user,
    set_up,
)
from tests.organisation_client import PASSWORD, Desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, account_of, finish_sign_in


@pytest.fixture
async def protected(desk: Desk) -> ProtectedUser:
    return await create_protected_user(desk)


class TestSigningIn:
    async def test_a_code_is_required_besides_the_password(self, protected: ProtectedUser) -> None:
        assert_problem(await protected.sign_in(), 401, "totp_required")
        answer = ok(await protected.sign_in(totp=protected.authenticator.code(1)))
        assert answer["user"]["id"] == str(protected.user.id)
        assert answer["user"]["secondFactor"] is True

    async def test_a_wrong_password_does_not_reveal_the_second_factor(self, protected: ProtectedUser) -> None:
        proofs: list[dict[str, Any]] = [
            {},
            {"totp": protected.authenticator.code(1)},
            {"recoveryCode": protected.recovery_codes[0]},
        ]
        for more in proofs:
            assert_problem(
                await protected.sign_in(password="cobalt-heron-47-lamq", **more), 401, "wrong_email_or_password"
            )
        ok(await protected.sign_in(totp=protected.authenticator.code(1)))

    async def test_a_code_can_be_used_once(self, protected: ProtectedUser) -> None:
        code = protected.authenticator.code(1)
        ok(await protected.sign_in(totp=code))
        assert_problem(await protected.sign_in(totp=code), 401, "totp_invalid")

    async def test_the_code_that_confirmed_the_second_factor_is_used_up(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk)
        authenticator = await set_up(user)
        code = authenticator.code()
        codes = ok(await user.post("/auth/2fa/confirm", {"code": code}))["recoveryCodes"]
        protected = ProtectedUser(desk, user, authenticator, codes)
        assert_problem(await protected.sign_in(totp=code), 401, "totp_invalid")

    async def test_a_code_older_than_the_last_used_one_is_refused(self, protected: ProtectedUser) -> None:
        earlier = protected.authenticator.code()
        ok(await protected.sign_in(totp=protected.authenticator.code(1)))
        assert_problem(await protected.sign_in(totp=earlier), 401, "totp_invalid")

    async def test_codes_more_than_a_step_away_are_refused(self, protected: ProtectedUser) -> None:
        for ahead in (-3, 3):
            assert_problem(await protected.sign_in(totp=protected.authenticator.code(ahead)), 401, "totp_invalid")

    async def test_one_of_several_concurrent_sign_ins_with_one_code_succeeds(
        self, start: Start, protected: ProtectedUser
    ) -> None:
        http = (await start(second_factor_limit="100/hour")).api.http
        proofs: list[dict[str, Any]] = [
            {"totp": protected.authenticator.code(1)},
            {"recoveryCode": protected.recovery_codes[0]},
        ]
        for proof in proofs:
            answers = await asyncio.gather(*(protected.sign_in(http, **proof) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
            assert {answer.json()["code"] for answer in answers if answer.status_code == 401} == {"totp_invalid"}

    @pytest.mark.parametrize("totp", ["12345", "1234567", "12345a", "", 123456])
    async def test_an_invalid_totp_field_is_reported(self, protected: ProtectedUser, totp: object) -> None:
        assert read_invalid_fields(await protected.sign_in(totp=totp)) == {"totp"}

    async def test_only_one_of_both_kinds_of_codes_is_accepted(self, protected: ProtectedUser) -> None:
        totp, recovery_code = protected.authenticator.code(1), protected.recovery_codes[0]
        assert read_invalid_fields(await protected.sign_in(totp=totp, recoveryCode=recovery_code)) == {"recoveryCode"}
        ok(await protected.sign_in(totp=totp))
        ok(await protected.sign_in(recoveryCode=recovery_code))

    async def test_a_second_factor_confirmed_while_the_password_is_compared_is_required(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk)
        account = await account_of(desk, user.email)
        authenticator = await set_up(user)
        ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
        with pytest.raises(TotpRequired):
            await finish_sign_in(desk, account)

    async def test_a_code_of_a_user_without_a_second_factor_is_ignored(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk)
        body = {"email": user.email, "password": PASSWORD, "org": desk.domain, "totp": "123456"}
        ok(await user.http.post("/auth/signin", json=body))


class TestLimits:
    """Wrong codes are limited per user, from any address: only a caller who knows the password gets that far."""

    async def test_too_many_wrong_codes_delay_even_the_right_one(self, start: Start, protected: ProtectedUser) -> None:
        service, wrong = await start(second_factor_limit="3/5 minutes"), protected.authenticator.wrong_code
        for address in ("192.0.2.1", "198.51.100.2", "203.0.113.3"):
            assert_problem(await protected.sign_in(service.at(address), totp=wrong), 401, "totp_invalid")
        answer = await protected.sign_in(service.at("192.0.2.4"), totp=protected.authenticator.code(1))
        assert_problem(answer, 429, "rate_limited")
        assert answer.headers["ratelimit-policy"].startswith('"second-factor";q=3;w=300')
        # A client who has the password cannot keep the user out, who has a recovery code.
        for _ in range(4):
            await protected.sign_in(service.at("192.0.2.1"), recoveryCode="AAAAA-AAAAA")
        ok(await protected.sign_in(service.at("192.0.2.4"), recoveryCode=protected.recovery_codes[0]))

    async def test_used_codes_and_wrong_recovery_codes_count(self, start: Start, protected: ProtectedUser) -> None:
        http, code = (await start(second_factor_limit="2/5 minutes")).api.http, protected.authenticator.code(1)
        ok(await protected.sign_in(http, totp=code))
        for attempt in ({"totp": code}, {"recoveryCode": "AAAAA-AAAAA"}):
            for _ in range(2):
                assert_problem(await protected.sign_in(http, **attempt), 401, "totp_invalid")
            assert_problem(await protected.sign_in(http, **attempt), 429, "rate_limited")

    async def test_concurrent_wrong_codes_count(self, start: Start, protected: ProtectedUser) -> None:
        http, wrong = (await start(second_factor_limit="3/5 minutes")).api.http, protected.authenticator.wrong_code
        answers = await asyncio.gather(*(protected.sign_in(http, totp=wrong) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 5

    async def test_missing_and_right_codes_do_not_count(self, start: Start, protected: ProtectedUser) -> None:
        http = (await start(second_factor_limit="1/5 minutes")).api.http
        for code in protected.recovery_codes[:3]:
            assert_problem(await protected.sign_in(http), 401, "totp_required")
            ok(await protected.sign_in(http, recoveryCode=code))

    async def test_the_limit_is_per_user(self, start: Start, desk: Desk, protected: ProtectedUser) -> None:
        http, other = (await start(second_factor_limit="1/5 minutes")).api.http, await create_protected_user(desk)
        assert_problem(await protected.sign_in(http, totp=protected.authenticator.wrong_code), 401, "totp_invalid")
        assert_problem(await protected.sign_in(http, totp=protected.authenticator.wrong_code), 429, "rate_limited")
        ok(await other.sign_in(http, totp=other.authenticator.code(1)))

    async def test_wrong_codes_of_signed_in_users_count(self, start: Start, protected: ProtectedUser) -> None:
        http, code = (await start(second_factor_limit="2/5 minutes")).api.http, protected.authenticator.wrong_code
        for path in ("/auth/2fa/disable", "/auth/2fa/recovery-codes"):
            assert_problem(await protected.post(http, path, {"code": code}), 403, "wrong_code")
        for path in ("/auth/2fa/disable", "/auth/2fa/recovery-codes"):
            assert_problem(
                await protected.post(http, path, {"code": protected.authenticator.code(1)}), 429, "rate_limited"
            )

    async def test_wrong_codes_with_a_stolen_token_do_not_keep_the_user_from_signing_in(
        self, start: Start, protected: ProtectedUser
    ) -> None:
        service, code = await start(second_factor_limit="5/5 minutes"), protected.authenticator.wrong_code
        thief, owner = service.at("203.0.113.66"), service.at("198.51.100.7")
        statuses = [(await protected.post(thief, "/auth/2fa/disable", {"code": code})).status_code for _ in range(6)]
        assert statuses == [403] * 5 + [429]
        body = ok(await protected.sign_in(owner, totp=protected.authenticator.code(1)))
        headers = {"Authorization": f"Bearer {body['accessToken']}"}
        used = {"recoveryCode": protected.recovery_codes[0]}
        assert (await owner.post("/auth/2fa/disable", json=used, headers=headers)).status_code == 204

    async def test_wrong_codes_of_a_thief_of_the_password_leave_the_owners_network_its_attempts(
        self, start: Start, protected: ProtectedUser
    ) -> None:
        service, wrong = await start(second_factor_limit="2/5 minutes"), protected.authenticator.wrong_code
        owner, thief = service.at("198.51.100.7"), service.at("203.0.113.66")
        ok(await protected.sign_in(owner, recoveryCode=protected.recovery_codes[0]))
        statuses = [(await protected.sign_in(thief, totp=wrong)).status_code for _ in range(3)]
        assert statuses == [401, 401, 429]
        ok(await protected.sign_in(owner, recoveryCode=protected.recovery_codes[1]))
        statuses = [(await protected.sign_in(owner, totp=wrong)).status_code for _ in range(3)]
        assert statuses == [401, 401, 429], "a known network has no more attempts than others"

    async def test_wrong_codes_at_the_confirmation_count(self, start: Start, desk: Desk) -> None:
        http, user = (await start(second_factor_limit="1/5 minutes")).api.http, await create_unprotected_user(desk)
        protected = ProtectedUser(desk, user, Authenticator((await set_up(user)).secret), [])
        wrong, right = {"code": protected.authenticator.wrong_code}, {"code": protected.authenticator.code()}
        assert_problem(await protected.post(http, "/auth/2fa/confirm", wrong), 403, "wrong_code")
        assert_problem(await protected.post(http, "/auth/2fa/confirm", right), 429, "rate_limited")

"""The second factor: set up, confirmed, asked for at each sign-in, disabled, required."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from app.access.permissions import RoleKind
from app.authentication.second_factor.errors import TotpRequired
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from tests.accounts.crew import ADMIN, CUSTOMER, ENGINEER, events_about, ok
from tests.authentication.second_factor.authenticators import Authenticator, Protected, protected, set_up, unprotected
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.problems import refused, wrong_fields
from tests.services import Start, account_of, finish_sign_in


@pytest.fixture
async def somebody(desk: Desk) -> Protected:
    return await protected(desk)


class TestSettingUp:
    async def test_an_authenticator_gets_the_secret_in_three_forms(self, desk: Desk) -> None:
        await desk.admin.patch("/org", {"name": "Growfin: Süd & Co"})
        user = await unprotected(desk)
        answer = await user.post("/auth/2fa/setup")
        said = ok(answer)

        uri = urlsplit(said["otpauthUri"])
        assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
        assert unquote(uri.path) == f"/Growfin  Süd & Co:{user.email}"
        assert parse_qs(uri.query) == {"secret": [said["secret"]], "issuer": ["Growfin  Süd & Co"]}
        assert re.fullmatch("[A-Z2-7]{32}", said["secret"])
        assert ET.fromstring(said["qrSvg"]).tag == "{http://www.w3.org/2000/svg}svg"
        assert "script" not in said["qrSvg"]
        assert answer.headers["cache-control"] == "no-store"

    async def test_the_longest_names_still_fit_a_qr_code(self, desk: Desk) -> None:
        await desk.admin.patch("/org", {"name": "😀" * 100})
        assert ok(await (await unprotected(desk)).post("/auth/2fa/setup"))["qrSvg"].startswith("<svg")

    async def test_until_it_is_confirmed_nothing_depends_on_it(self, desk: Desk) -> None:
        user = await unprotected(desk)
        await set_up(user)

        assert ok(await user.get("/me"))["secondFactor"] is False
        body = {"email": user.email, "password": PASSWORD, "org": desk.domain}
        assert (await user.http.post("/auth/signin", json=body)).status_code == 200
        refused(await user.post("/auth/2fa/disable", {"code": "123456"}), 409, "second_factor_not_set_up")

    async def test_to_ask_again_replaces_the_secret(self, desk: Desk) -> None:
        user = await unprotected(desk)
        first, second = await set_up(user), await set_up(user)

        assert first.secret != second.secret
        answer = await user.post("/auth/2fa/confirm", {"code": first.code()})
        refused(answer, 403, "wrong_code")
        assert (await user.post("/auth/2fa/confirm", {"code": second.code()})).status_code == 200

    async def test_somebody_who_has_one_does_not_get_another(self, somebody: Protected) -> None:
        refused(await somebody.user.post("/auth/2fa/setup"), 409, "second_factor_active")
        code = {"code": somebody.authenticator.code(1)}
        refused(await somebody.user.post("/auth/2fa/confirm", code), 409, "second_factor_active")

    async def test_nobody_else_has_it(self, api: Api, desk: Desk, database: Database, somebody: Protected) -> None:
        stranger = (await create_desk(api, database)).admin
        for other in (desk.admin, stranger):
            code = {"code": somebody.authenticator.code(1)}
            for path in ("/auth/2fa/confirm", "/auth/2fa/disable", "/auth/2fa/recovery-codes"):
                refused(await other.post(path, code), 409, "second_factor_not_set_up")
        refused(await api.http.post("/auth/2fa/setup"), 401, "missing_credential")
        secret = {"X-Org-Secret": desk.secret}
        refused(await api.http.post("/auth/2fa/setup", headers=secret), 403, "access_token_required")


class TestConfirming:
    async def test_it_gives_ten_recovery_codes_and_counts_from_then_on(self, desk: Desk) -> None:
        user = await unprotected(desk)
        authenticator = await set_up(user)
        answer = await user.post("/auth/2fa/confirm", {"code": authenticator.code()})

        codes = ok(answer)["recoveryCodes"]
        assert len(set(codes)) == 10
        assert all(re.fullmatch("[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{5}", code) for code in codes)
        assert answer.headers["cache-control"] == "no-store"
        assert ok(await user.get("/me"))["secondFactor"] is True
        assert await events_about(desk, user.id) == [("user.second_factor_enabled", {})]

    @pytest.mark.parametrize("code", ["12345", "1234567", "12345a", "١٢٣٤٥٦", "123456\n", " 12345", "", None, 123456])
    async def test_what_is_no_code_is_no_guess(self, desk: Desk, code: object) -> None:
        user = await unprotected(desk)
        await set_up(user)
        assert wrong_fields(await user.post("/auth/2fa/confirm", {"code": code})) == {"code"}

    async def test_a_wrong_code_changes_nothing(self, desk: Desk) -> None:
        user = await unprotected(desk)
        authenticator = await set_up(user)
        for code in (authenticator.wrong_code, authenticator.code(3), authenticator.code(-3)):
            answer = await user.post("/auth/2fa/confirm", {"code": code})
            refused(answer, 403, "wrong_code")
        assert ok(await user.get("/me"))["secondFactor"] is False
        assert await events_about(desk, user.id) == []

    async def test_it_needs_to_be_set_up(self, desk: Desk) -> None:
        answer = await desk.admin.post("/auth/2fa/confirm", {"code": "123456"})
        refused(answer, 409, "second_factor_not_set_up")

    async def test_nothing_of_it_is_in_the_database_or_in_a_log(self, desk: Desk) -> None:
        with capture_logs() as lines:
            somebody = await protected(desk)
            used = somebody.authenticator.code(1)
            ok(await somebody.sign_in(totp=used))
            refused(await somebody.sign_in(totp=used), 401, "totp_invalid")
        async with desk.database.session(desk.id) as db:
            factor = await db.scalar(select(SecondFactor).where(SecondFactor.org_id == desk.id))
            hashes = (await db.scalars(select(RecoveryCode.hash).where(RecoveryCode.org_id == desk.id))).all()
            events = (await db.scalars(select(EventRow.data).where(EventRow.org_id == desk.id))).all()
        assert factor is not None
        secret = somebody.authenticator.secret
        assert secret.encode() not in factor.secret
        assert (len(hashes), {len(one) for one in hashes}) == (10, {32})
        said = repr((lines, events))
        assert {"request", secret, used, *somebody.recovery_codes} & set(re.split("[^A-Z0-9a-z-]", said)) == {"request"}


class TestSigningIn:
    async def test_the_password_is_not_enough_and_the_code_is(self, somebody: Protected) -> None:
        refused(await somebody.sign_in(), 401, "totp_required")
        answer = ok(await somebody.sign_in(totp=somebody.authenticator.code(1)))
        assert answer["user"]["id"] == str(somebody.user.id)
        assert answer["user"]["secondFactor"] is True

    async def test_without_the_right_password_nobody_hears_of_it(self, somebody: Protected) -> None:
        proofs: list[dict[str, Any]] = [
            {},
            {"totp": somebody.authenticator.code(1)},
            {"recoveryCode": somebody.recovery_codes[0]},
        ]
        for more in proofs:
            refused(await somebody.sign_in(password="cobalt-heron-47-lamq", **more), 401, "wrong_email_or_password")
        ok(await somebody.sign_in(totp=somebody.authenticator.code(1)))

    async def test_a_code_works_once(self, somebody: Protected) -> None:
        code = somebody.authenticator.code(1)
        ok(await somebody.sign_in(totp=code))
        refused(await somebody.sign_in(totp=code), 401, "totp_invalid")

    async def test_the_code_that_confirmed_it_has_been_used(self, desk: Desk) -> None:
        user = await unprotected(desk)
        authenticator = await set_up(user)
        code = authenticator.code()
        codes = ok(await user.post("/auth/2fa/confirm", {"code": code}))["recoveryCodes"]
        somebody = Protected(desk, user, authenticator, codes)
        refused(await somebody.sign_in(totp=code), 401, "totp_invalid")

    async def test_a_code_from_before_the_last_one_is_too_old(self, somebody: Protected) -> None:
        earlier = somebody.authenticator.code()
        ok(await somebody.sign_in(totp=somebody.authenticator.code(1)))
        refused(await somebody.sign_in(totp=earlier), 401, "totp_invalid")

    async def test_a_clock_may_be_off_by_a_step_and_no_more(self, somebody: Protected) -> None:
        for ahead in (-3, 3):
            refused(await somebody.sign_in(totp=somebody.authenticator.code(ahead)), 401, "totp_invalid")

    async def test_of_parallel_sign_ins_with_one_code_one_succeeds(self, start: Start, somebody: Protected) -> None:
        http = (await start(second_factor_limit="100/minute")).api.http
        proofs: list[dict[str, Any]] = [
            {"totp": somebody.authenticator.code(1)},
            {"recoveryCode": somebody.recovery_codes[0]},
        ]
        for proof in proofs:
            answers = await asyncio.gather(*(somebody.sign_in(http, **proof) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
            assert {answer.json()["code"] for answer in answers if answer.status_code == 401} == {"totp_invalid"}

    @pytest.mark.parametrize("totp", ["12345", "1234567", "12345a", "", 123456])
    async def test_what_is_no_code_is_refused_as_input(self, somebody: Protected, totp: object) -> None:
        assert wrong_fields(await somebody.sign_in(totp=totp)) == {"totp"}

    async def test_it_takes_one_code(self, somebody: Protected) -> None:
        totp, recovery_code = somebody.authenticator.code(1), somebody.recovery_codes[0]
        assert wrong_fields(await somebody.sign_in(totp=totp, recoveryCode=recovery_code)) == {"recoveryCode"}
        ok(await somebody.sign_in(totp=totp))
        ok(await somebody.sign_in(recoveryCode=recovery_code))

    async def test_one_that_is_confirmed_while_the_password_is_compared_counts(self, desk: Desk) -> None:
        user = await unprotected(desk)
        account = await account_of(desk, user.email)
        authenticator = await set_up(user)
        ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
        with pytest.raises(TotpRequired):
            await finish_sign_in(desk, account)

    async def test_who_has_none_need_not_have_one(self, desk: Desk) -> None:
        user = await unprotected(desk)
        body = {"email": user.email, "password": PASSWORD, "org": desk.domain, "totp": "123456"}
        ok(await user.http.post("/auth/signin", json=body))


class TestRecoveryCodes:
    async def test_each_works_once(self, somebody: Protected) -> None:
        first, second, *_ = somebody.recovery_codes
        ok(await somebody.sign_in(recoveryCode=first))
        refused(await somebody.sign_in(recoveryCode=first), 401, "totp_invalid")
        ok(await somebody.sign_in(recoveryCode=second))

    async def test_it_may_be_typed_in_any_way(self, somebody: Protected) -> None:
        first, second, *_ = somebody.recovery_codes
        ok(await somebody.sign_in(recoveryCode=first.lower().replace("-", " ")))
        ok(await somebody.sign_in(recoveryCode=second.replace("-", "")))

    async def test_somebody_elses_is_none(self, desk: Desk, somebody: Protected) -> None:
        other = await protected(desk)
        refused(await somebody.sign_in(recoveryCode=other.recovery_codes[0]), 401, "totp_invalid")
        ok(await other.sign_in(recoveryCode=other.recovery_codes[0]))

    async def test_new_ones_replace_all_before(self, somebody: Protected) -> None:
        code = {"code": somebody.authenticator.code(1)}
        new = ok(await somebody.user.post("/auth/2fa/recovery-codes", code))["recoveryCodes"]

        assert len(set(new)) == 10
        assert not set(new) & set(somebody.recovery_codes)
        refused(await somebody.sign_in(recoveryCode=somebody.recovery_codes[0]), 401, "totp_invalid")
        ok(await somebody.sign_in(recoveryCode=new[0]))
        again = await somebody.user.post("/auth/2fa/recovery-codes", code)
        refused(again, 403, "wrong_code")


class TestDisabling:
    async def test_with_a_code_the_password_is_enough_again(self, somebody: Protected) -> None:
        answer = await somebody.user.post("/auth/2fa/disable", {"code": somebody.authenticator.code(1)})
        assert (answer.status_code, answer.content) == (204, b"")

        ok(await somebody.sign_in())
        assert ok(await somebody.user.get("/me"))["secondFactor"] is False
        kinds = [kind for kind, _ in await events_about(somebody.desk, somebody.user.id)]
        assert kinds == ["user.second_factor_enabled", "user.second_factor_disabled"]
        async with somebody.desk.database.session(somebody.desk.id) as db:
            for table in (SecondFactor, RecoveryCode):
                assert (await db.scalars(select(table).where(table.org_id == somebody.desk.id))).all() == []

    async def test_a_recovery_code_does_as_well(self, somebody: Protected) -> None:
        answer = await somebody.user.post("/auth/2fa/disable", {"recoveryCode": somebody.recovery_codes[0]})
        assert answer.status_code == 204
        ok(await somebody.sign_in())

    async def test_a_wrong_or_used_code_leaves_it(self, somebody: Protected) -> None:
        used = somebody.authenticator.code(1)
        ok(await somebody.sign_in(totp=used))
        for field, code in (
            ("code", used),
            ("code", somebody.authenticator.wrong_code),
            ("recoveryCode", "AAAAA-AAAAA"),
        ):
            answer = await somebody.user.post("/auth/2fa/disable", {field: code})
            refused(answer, 403, "wrong_code")
        refused(await somebody.sign_in(), 401, "totp_required")

    @pytest.mark.parametrize("body", [{}, {"code": "123456", "recoveryCode": "AAAAA-AAAAA"}, {"totp": "123456"}])
    async def test_it_takes_one_proof(self, somebody: Protected, body: object) -> None:
        refused(await somebody.user.post("/auth/2fa/disable", body), 422, "invalid_input")

    async def test_afterwards_it_can_be_set_up_anew(self, somebody: Protected) -> None:
        await somebody.user.post("/auth/2fa/disable", {"code": somebody.authenticator.code(1)})
        anew = await set_up(somebody.user)
        assert anew.secret != somebody.authenticator.secret
        ok(await somebody.user.post("/auth/2fa/confirm", {"code": anew.code()}))
        refused(await somebody.sign_in(totp=somebody.authenticator.code(1)), 401, "totp_invalid")
        ok(await somebody.sign_in(totp=anew.code(1)))


class TestRequired:
    """By the organisation, of its admins and engineers."""

    @pytest.mark.parametrize("role", [ADMIN, ENGINEER])
    async def test_who_has_none_can_do_nothing_but_set_it_up(self, desk: Desk, role: RoleKind) -> None:
        user = await unprotected(desk, role)
        ok(await desk.admin.patch("/org", {"require2fa": True}))

        for path in ("/org", "/tickets", f"/users/{user.id}/picture"):
            refused(await user.get(path), 403, "second_factor_required")
        refused(await user.patch("/me", {"firstName": "Eve"}), 403, "second_factor_required")
        assert ok(await user.get("/me"))["secondFactor"] is False
        authenticator = await set_up(user)
        ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
        ok(await user.get("/org"))
        answer = await user.post("/auth/2fa/disable", {"code": authenticator.code(1)})
        refused(answer, 409, "second_factor_mandatory")

    async def test_a_service_that_is_shown_their_token_is_told_so(self, desk: Desk) -> None:
        user = await unprotected(desk, ENGINEER)
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        token = {"token": user.headers["Authorization"].removeprefix("Bearer ")}

        said = ok(await user.http.post("/auth/verify", json=token))
        assert (said["active"], said["secondFactorRequired"], said["permissions"]) == (True, True, [])
        authenticator = await set_up(user)
        ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
        said = ok(await user.http.post("/auth/verify", json=token))
        assert (said["secondFactorRequired"], "tickets:view" in said["permissions"]) == (False, True)

    async def test_who_made_it_required_is_no_exception(self, desk: Desk) -> None:
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        refused(await desk.admin.patch("/org", {"require2fa": False}), 403, "second_factor_required")

    async def test_it_concerns_no_customers(self, desk: Desk) -> None:
        customer = await protected(desk, CUSTOMER)
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        answer = await customer.user.post("/auth/2fa/disable", {"code": customer.authenticator.code(1)})
        assert answer.status_code == 204
        ok(await customer.user.get("/org"))

    async def test_nor_products_nor_other_organisations(self, api: Api, desk: Desk, database: Database) -> None:
        stranger = (await create_desk(api, database)).admin
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        ok(await api.http.get("/org", headers={"X-Org-Secret": desk.secret}))
        ok(await stranger.get("/org"))

    async def test_once_it_is_not_any_more_all_is_as_before(self, desk: Desk, somebody: Protected) -> None:
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        refused(await desk.admin.get("/org"), 403, "second_factor_required")
        ok(await somebody.user.patch("/org", {"require2fa": False}))
        ok(await desk.admin.get("/org"))


class TestGuessing:
    """Whoever does knows the password: it is limited for the user, wherever it comes from."""

    async def test_after_so_many_wrong_codes_even_the_right_one_has_to_wait(
        self, start: Start, somebody: Protected
    ) -> None:
        service, wrong = await start(second_factor_limit="3/5 minutes"), somebody.authenticator.wrong_code
        for address in ("192.0.2.1", "198.51.100.2", "203.0.113.3"):
            refused(await somebody.sign_in(service.at(address), totp=wrong), 401, "totp_invalid")
        answer = await somebody.sign_in(service.at("192.0.2.4"), totp=somebody.authenticator.code(1))
        refused(answer, 429, "rate_limited")
        assert answer.headers["ratelimit-policy"] == '"default";q=3;w=300'
        answer = await somebody.sign_in(service.at("192.0.2.4"), recoveryCode=somebody.recovery_codes[0])
        refused(answer, 429, "rate_limited")

    async def test_a_replayed_code_is_a_guess_and_recovery_codes_are_guessed_at_too(
        self, start: Start, somebody: Protected
    ) -> None:
        http, code = (await start(second_factor_limit="2/5 minutes")).api.http, somebody.authenticator.code(1)
        ok(await somebody.sign_in(http, totp=code))
        refused(await somebody.sign_in(http, totp=code), 401, "totp_invalid")
        refused(await somebody.sign_in(http, recoveryCode="AAAAA-AAAAA"), 401, "totp_invalid")
        refused(await somebody.sign_in(http, recoveryCode="AAAAA-AAAAA"), 429, "rate_limited")

    async def test_guesses_at_the_same_moment_count_too(self, start: Start, somebody: Protected) -> None:
        http, wrong = (await start(second_factor_limit="3/5 minutes")).api.http, somebody.authenticator.wrong_code
        answers = await asyncio.gather(*(somebody.sign_in(http, totp=wrong) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 5

    async def test_to_be_asked_for_a_code_is_no_guess_nor_is_a_right_one(
        self, start: Start, somebody: Protected
    ) -> None:
        http = (await start(second_factor_limit="1/5 minutes")).api.http
        for code in somebody.recovery_codes[:3]:
            refused(await somebody.sign_in(http), 401, "totp_required")
            ok(await somebody.sign_in(http, recoveryCode=code))

    async def test_others_are_not_slowed_down(self, start: Start, desk: Desk, somebody: Protected) -> None:
        http, other = (await start(second_factor_limit="1/5 minutes")).api.http, await protected(desk)
        refused(await somebody.sign_in(http, totp=somebody.authenticator.wrong_code), 401, "totp_invalid")
        refused(await somebody.sign_in(http, totp=somebody.authenticator.wrong_code), 429, "rate_limited")
        ok(await other.sign_in(http, totp=other.authenticator.code(1)))

    async def test_who_is_signed_in_may_not_guess_either(self, start: Start, somebody: Protected) -> None:
        http, code = (await start(second_factor_limit="2/5 minutes")).api.http, somebody.authenticator.wrong_code
        for path in ("/auth/2fa/disable", "/auth/2fa/recovery-codes"):
            refused(await somebody.post(http, path, {"code": code}), 403, "wrong_code")
        for path in ("/auth/2fa/disable", "/auth/2fa/recovery-codes"):
            refused(await somebody.post(http, path, {"code": somebody.authenticator.code(1)}), 429, "rate_limited")
        refused(await somebody.sign_in(http, totp=somebody.authenticator.code(1)), 429, "rate_limited")

    async def test_nor_at_a_secret_that_they_have_not_confirmed(self, start: Start, desk: Desk) -> None:
        http, user = (await start(second_factor_limit="1/5 minutes")).api.http, await unprotected(desk)
        somebody = Protected(desk, user, Authenticator((await set_up(user)).secret), [])
        wrong, right = {"code": somebody.authenticator.wrong_code}, {"code": somebody.authenticator.code()}
        refused(await somebody.post(http, "/auth/2fa/confirm", wrong), 403, "wrong_code")
        refused(await somebody.post(http, "/auth/2fa/confirm", right), 429, "rate_limited")

"""Setting up, confirming, renewing, disabling and requiring a second factor."""

from __future__ import annotations

import re
import string
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from app.access.user_permissions import RoleKind
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from tests.accounts.users_and_roles import ADMIN, CUSTOMER, ENGINEER, list_events, ok
from tests.authentication.second_factor.authenticators import (
    ProtectedUser,
    create_protected_user,
    create_unprotected_user,
    set_up,
)
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields


@pytest.fixture
async def protected(desk: Desk) -> ProtectedUser:
    return await create_protected_user(desk)


class TestSettingUp:
    async def test_an_authenticator_gets_the_secret_in_three_forms(self, desk: Desk) -> None:
        await desk.admin.patch("/org", {"name": "Growfin: Süd & Co"})
        user = await create_unprotected_user(desk)
        answer = await user.post("/auth/2fa/setup")
        body = ok(answer)

        uri = urlsplit(body["otpauthUri"])
        assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
        assert unquote(uri.path) == f"/Growfin  Süd & Co:{user.email}"
        assert parse_qs(uri.query) == {"secret": [body["secret"]], "issuer": ["Growfin  Süd & Co"]}
        assert re.fullmatch("[A-Z2-7]{32}", body["secret"])
        assert ET.fromstring(body["qrSvg"]).tag == "{http://www.w3.org/2000/svg}svg"
        assert "script" not in body["qrSvg"]
        assert answer.headers["cache-control"] == "no-store"

    async def test_the_longest_names_still_fit_a_qr_code(self, desk: Desk) -> None:
        await desk.admin.patch("/org", {"name": "😀" * 100})
        assert ok(await (await create_unprotected_user(desk)).post("/auth/2fa/setup"))["qrSvg"].startswith("<svg")

    async def test_an_unconfirmed_second_factor_has_no_effect(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk)
        await set_up(user)

        assert ok(await user.get("/me"))["secondFactor"] is False
        body = {"email": user.email, "password": PASSWORD, "org": desk.domain}
        assert (await user.http.post("/auth/signin", json=body)).status_code == 200
        assert_problem(await user.post("/auth/2fa/disable", {"code": "123456"}), 409, "second_factor_not_set_up")

    async def test_another_setup_replaces_the_secret(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk)
        first, second = await set_up(user), await set_up(user)

        assert first.secret != second.secret
        answer = await user.post("/auth/2fa/confirm", {"code": first.code()})
        assert_problem(answer, 403, "wrong_code")
        assert (await user.post("/auth/2fa/confirm", {"code": second.code()})).status_code == 200

    async def test_a_user_with_a_second_factor_cannot_set_up_another(self, protected: ProtectedUser) -> None:
        assert_problem(await protected.user.post("/auth/2fa/setup"), 409, "second_factor_active")
        code = {"code": protected.authenticator.code(1)}
        assert_problem(await protected.user.post("/auth/2fa/confirm", code), 409, "second_factor_active")

    async def test_a_second_factor_belongs_to_one_user(
        self, api: Api, desk: Desk, database: Database, protected: ProtectedUser
    ) -> None:
        stranger = (await create_desk(api, database)).admin
        for other in (desk.admin, stranger):
            code = {"code": protected.authenticator.code(1)}
            for path in ("/auth/2fa/confirm", "/auth/2fa/disable", "/auth/2fa/recovery-codes"):
                assert_problem(await other.post(path, code), 409, "second_factor_not_set_up")
        assert_problem(await api.http.post("/auth/2fa/setup"), 401, "missing_credential")
        secret = {"X-Org-Secret": desk.secret}
        assert_problem(await api.http.post("/auth/2fa/setup", headers=secret), 403, "access_token_required")


class TestConfirming:
    async def test_confirming_enables_the_second_factor_and_returns_ten_recovery_codes(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk)
        authenticator = await set_up(user)
        answer = await user.post("/auth/2fa/confirm", {"code": authenticator.code()})

        codes = ok(answer)["recoveryCodes"]
        assert len(set(codes)) == 10
        assert all(re.fullmatch("[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{5}", code) for code in codes)
        assert answer.headers["cache-control"] == "no-store"
        assert ok(await user.get("/me"))["secondFactor"] is True
        assert await list_events(desk, user.id) == [("user.second_factor_enabled", {})]

    @pytest.mark.parametrize(
        "code", ["12345", "1234567", "12345a", "一二三四五六", "12 345", "492-03", " -", "", None, 123456]
    )
    async def test_an_invalid_code_field_is_reported(self, desk: Desk, code: object) -> None:
        user = await create_unprotected_user(desk)
        await set_up(user)
        assert read_invalid_fields(await user.post("/auth/2fa/confirm", {"code": code})) == {"code"}

    @pytest.mark.parametrize(
        "separator", [" ", "-", "\u00a0", "\u2009", "\u3000", "\u2013", "\u2212", "\u200b", "\t", ".", " - "]
    )
    async def test_a_code_may_hold_spaces_and_dashes(self, desk: Desk, separator: str) -> None:
        user = await create_unprotected_user(desk)
        code = (await set_up(user)).code()
        pasted = f" {code[:3]}{separator}{code[3:]}\n"
        recovery_code = ok(await user.post("/auth/2fa/confirm", {"code": pasted}))["recoveryCodes"][0]

        pasted = f" {recovery_code.lower().replace('-', separator)} "
        assert (await user.post("/auth/2fa/disable", {"recoveryCode": pasted})).status_code == 204

    async def test_a_code_may_have_arabic_digits(self, desk: Desk) -> None:
        code = (await set_up(user := await create_unprotected_user(desk))).code()
        ok(await user.post("/auth/2fa/confirm", {"code": "".join(chr(0x660 + int(digit)) for digit in code)}))

    async def test_codes_are_taken_in_any_grouping_wherever_they_are_read(self, desk: Desk) -> None:
        protected = await create_protected_user(desk)
        (first, second), user = protected.recovery_codes[:2], protected.user
        wide = {ord(character): ord(character) + 0xFEE0 for character in string.ascii_uppercase + string.digits}
        code = protected.authenticator.code(1)
        ok(await protected.sign_in(totp=f"{code[:2]} {code[2:4]}\u2010{code[4:]}".translate(wide)))
        ok(await protected.sign_in(recoveryCode=" - ".join(first.lower().replace("-", ""))))
        ok(await protected.sign_in(recoveryCode=second.translate(wide)))
        renewal = "\u2007".join(protected.authenticator.code(2))
        # The authenticator's clock may be off by one step only.
        assert_problem(await user.post("/auth/2fa/recovery-codes", {"code": renewal}), 403, "wrong_code")
        wrong = protected.authenticator.wrong_code
        assert_problem(await user.post("/auth/2fa/disable", {"code": f"{wrong[:3]}-{wrong[3:]}"}), 403, "wrong_code")

    async def test_a_wrong_code_changes_nothing(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk)
        authenticator = await set_up(user)
        for code in (authenticator.wrong_code, authenticator.code(3), authenticator.code(-3)):
            answer = await user.post("/auth/2fa/confirm", {"code": code})
            assert_problem(answer, 403, "wrong_code")
        assert ok(await user.get("/me"))["secondFactor"] is False
        assert await list_events(desk, user.id) == []

    async def test_only_a_secret_that_was_set_up_can_be_confirmed(self, desk: Desk) -> None:
        answer = await desk.admin.post("/auth/2fa/confirm", {"code": "123456"})
        assert_problem(answer, 409, "second_factor_not_set_up")

    async def test_secrets_and_codes_are_neither_stored_nor_logged(self, desk: Desk) -> None:
        with capture_logs() as lines:
            protected = await create_protected_user(desk)
            used = protected.authenticator.code(1)
            ok(await protected.sign_in(totp=used))
            assert_problem(await protected.sign_in(totp=used), 401, "totp_invalid")
        async with desk.database.session(desk.id) as db:
            factor = await db.scalar(select(SecondFactor).where(SecondFactor.org_id == desk.id))
            hashes = (await db.scalars(select(RecoveryCode.hash).where(RecoveryCode.org_id == desk.id))).all()
            events = (await db.scalars(select(EventRow.data).where(EventRow.org_id == desk.id))).all()
        assert factor is not None
        secret = protected.authenticator.secret
        assert secret.encode() not in factor.secret
        assert (len(hashes), {len(one) for one in hashes}) == (10, {32})
        text = repr((lines, events))
        assert {"request", secret, used, *protected.recovery_codes} & set(re.split("[^A-Z0-9a-z-]", text)) == {
            "request"
        }


class TestRecoveryCodes:
    async def test_each_recovery_code_can_be_used_once(self, protected: ProtectedUser) -> None:
        first, second, *_ = protected.recovery_codes
        ok(await protected.sign_in(recoveryCode=first))
        assert_problem(await protected.sign_in(recoveryCode=first), 401, "totp_invalid")
        ok(await protected.sign_in(recoveryCode=second))

    async def test_case_dashes_and_spaces_of_a_recovery_code_are_ignored(self, protected: ProtectedUser) -> None:
        first, second, *_ = protected.recovery_codes
        ok(await protected.sign_in(recoveryCode=first.lower().replace("-", " ")))
        ok(await protected.sign_in(recoveryCode=second.replace("-", "")))

    async def test_a_recovery_code_of_another_user_is_refused(self, desk: Desk, protected: ProtectedUser) -> None:
        other = await create_protected_user(desk)
        assert_problem(await protected.sign_in(recoveryCode=other.recovery_codes[0]), 401, "totp_invalid")
        ok(await other.sign_in(recoveryCode=other.recovery_codes[0]))

    async def test_new_recovery_codes_replace_all_previous_ones(self, protected: ProtectedUser) -> None:
        code = {"code": protected.authenticator.code(1)}
        new = ok(await protected.user.post("/auth/2fa/recovery-codes", code))["recoveryCodes"]

        assert len(set(new)) == 10
        assert not set(new) & set(protected.recovery_codes)
        assert_problem(await protected.sign_in(recoveryCode=protected.recovery_codes[0]), 401, "totp_invalid")
        ok(await protected.sign_in(recoveryCode=new[0]))
        again = await protected.user.post("/auth/2fa/recovery-codes", code)
        assert_problem(again, 403, "wrong_code")


class TestDisabling:
    async def test_a_code_disables_the_second_factor(self, protected: ProtectedUser) -> None:
        answer = await protected.user.post("/auth/2fa/disable", {"code": protected.authenticator.code(1)})
        assert (answer.status_code, answer.content) == (204, b"")

        ok(await protected.sign_in())
        assert ok(await protected.user.get("/me"))["secondFactor"] is False
        kinds = [kind for kind, _ in await list_events(protected.desk, protected.user.id)]
        assert kinds == ["user.second_factor_enabled", "user.second_factor_disabled"]
        async with protected.desk.database.session(protected.desk.id) as db:
            for table in (SecondFactor, RecoveryCode):
                assert (await db.scalars(select(table).where(table.org_id == protected.desk.id))).all() == []

    async def test_a_recovery_code_disables_the_second_factor(self, protected: ProtectedUser) -> None:
        answer = await protected.user.post("/auth/2fa/disable", {"recoveryCode": protected.recovery_codes[0]})
        assert answer.status_code == 204
        ok(await protected.sign_in())

    async def test_a_wrong_or_used_code_disables_nothing(self, protected: ProtectedUser) -> None:
        used = protected.authenticator.code(1)
        ok(await protected.sign_in(totp=used))
        for field, code in (
            ("code", used),
            ("code", protected.authenticator.wrong_code),
            ("recoveryCode", "AAAAA-AAAAA"),
        ):
            answer = await protected.user.post("/auth/2fa/disable", {field: code})
            assert_problem(answer, 403, "wrong_code")
        assert_problem(await protected.sign_in(), 401, "totp_required")

    @pytest.mark.parametrize("body", [{}, {"code": "123456", "recoveryCode": "AAAAA-AAAAA"}, {"totp": "123456"}])
    async def test_exactly_one_code_is_required(self, protected: ProtectedUser, body: object) -> None:
        assert_problem(await protected.user.post("/auth/2fa/disable", body), 422, "invalid_input")

    async def test_a_disabled_second_factor_can_be_set_up_again(self, protected: ProtectedUser) -> None:
        await protected.user.post("/auth/2fa/disable", {"code": protected.authenticator.code(1)})
        second = await set_up(protected.user)
        assert second.secret != protected.authenticator.secret
        ok(await protected.user.post("/auth/2fa/confirm", {"code": second.code()}))
        assert_problem(await protected.sign_in(totp=protected.authenticator.code(1)), 401, "totp_invalid")
        ok(await protected.sign_in(totp=second.code(1)))


class TestRequired:
    """The organisation requires a second factor of its admins and engineers."""

    @pytest.mark.parametrize("role", [ADMIN, ENGINEER])
    async def test_staff_without_a_second_factor_can_only_set_it_up(self, desk: Desk, role: RoleKind) -> None:
        user = await create_unprotected_user(desk, role)
        ok(await desk.admin.patch("/org", {"require2fa": True}))

        for path in ("/org", "/tickets", f"/users/{user.id}/picture"):
            assert_problem(await user.get(path), 403, "second_factor_required")
        assert_problem(await user.patch("/me", {"firstName": "Eve"}), 403, "second_factor_required")
        assert ok(await user.get("/me"))["secondFactor"] is False
        authenticator = await set_up(user)
        ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
        ok(await user.get("/org"))
        answer = await user.post("/auth/2fa/disable", {"code": authenticator.code(1)})
        assert_problem(answer, 409, "second_factor_mandatory")

    async def test_the_verification_of_a_token_says_that_a_second_factor_is_required(self, desk: Desk) -> None:
        user = await create_unprotected_user(desk, ENGINEER)
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        token = {"token": user.headers["Authorization"].removeprefix("Bearer ")}

        body = ok(await user.http.post("/auth/verify", json=token))
        assert (body["active"], body["secondFactorRequired"], body["permissions"]) == (True, True, [])
        authenticator = await set_up(user)
        ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
        body = ok(await user.http.post("/auth/verify", json=token))
        assert (body["secondFactorRequired"], "tickets:view" in body["permissions"]) == (False, True)

    async def test_the_admin_who_required_second_factors_needs_one_too(self, desk: Desk) -> None:
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        assert_problem(await desk.admin.patch("/org", {"require2fa": False}), 403, "second_factor_required")

    async def test_customers_need_no_second_factor(self, desk: Desk) -> None:
        customer = await create_protected_user(desk, CUSTOMER)
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        answer = await customer.user.post("/auth/2fa/disable", {"code": customer.authenticator.code(1)})
        assert answer.status_code == 204
        ok(await customer.user.get("/org"))

    async def test_products_and_other_organisations_are_unaffected(
        self, api: Api, desk: Desk, database: Database
    ) -> None:
        stranger = (await create_desk(api, database)).admin
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        ok(await api.http.get("/org", headers={"X-Org-Secret": desk.secret}))
        ok(await stranger.get("/org"))

    async def test_the_requirement_can_be_lifted(self, desk: Desk, protected: ProtectedUser) -> None:
        ok(await desk.admin.patch("/org", {"require2fa": True}))
        assert_problem(await desk.admin.get("/org"), 403, "second_factor_required")
        ok(await protected.user.patch("/org", {"require2fa": False}))
        ok(await desk.admin.get("/org"))

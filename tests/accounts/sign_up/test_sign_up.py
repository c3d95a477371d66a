"""Sign up admins with the organisation's secret key."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from app.accounts.roles.rules import ADMIN
from app.accounts.users.models import Credential, User
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.core.security.secret_keys import generate_secret_key
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields

ADMIN_BODY = {"firstName": "Bo", "lastName": "Ek", "email": "bo@growfin.test", "password": PASSWORD}


async def sign_up(desk: Desk, *, header: str | None = None, **fields: object) -> httpx.Response:
    headers = {"X-Org-Secret": header} if header else {}
    return await desk.api.http.post("/auth/admin/signup", json=ADMIN_BODY | fields, headers=headers)


async def count_users(desk: Desk) -> int:
    async with desk.database.session(desk.id) as db:
        return await db.scalar(select(func.count()).select_from(User).where(User.org_id == desk.id)) or 0


async def test_an_admin_who_signs_up_with_the_secret_key_is_active_and_available(desk: Desk) -> None:
    answer = await sign_up(desk, secret=desk.secret, firstName=" Bo ", email="Bo@GrowFin.TEST")

    assert answer.status_code == 201
    assert answer.headers["location"] == "/me"
    created = answer.json()
    assert UUID(created.pop("id")).version == 7
    assert created.pop("createdAt").endswith("Z")
    assert created == {
        "orgId": str(desk.id), "firstName": "Bo", "lastName": "Ek", "email": "bo@growfin.test", "role": "ADMIN",
        "roleId": str(ADMIN.id), "designation": "Admin", "status": "ACTIVE", "available": True,
        "emailVerified": False, "secondFactor": False, "pictureUrl": None,
    }  # fmt: skip


async def test_the_secret_key_can_be_in_the_header_and_only_the_hash_of_the_password_is_stored(desk: Desk) -> None:
    answer = await sign_up(desk, header=desk.secret)
    assert answer.status_code == 201
    user_id = UUID(answer.json()["id"])
    async with desk.database.session(desk.id) as db:
        credential = await db.get(Credential, (desk.id, user_id))
        events = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id))).all()
    assert credential is not None
    assert credential.password_hash is not None
    assert credential.password_hash.startswith("$argon2id$")
    assert PASSWORD not in repr([event.data for event in events])
    assert any(str(event.subject_id) == str(user_id) for event in events)


async def test_waiting_tickets_are_assigned_before_the_response(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    tickets = [await desk.open() for _ in range(3)]
    assert {ticket["adminId"] for ticket in tickets} == {None}
    created = (await sign_up(desk, secret=desk.secret)).json()
    assert {(await desk.read(ticket))["adminId"] for ticket in tickets} == {created["id"]}


class TestEmail:
    async def test_e_mails_are_unique_regardless_of_letter_case(self, desk: Desk) -> None:
        await desk.another_admin("bo@growfin.test")
        for email in ("bo@growfin.test", " Bo@GrowFin.Test "):
            assert_problem(await sign_up(desk, secret=desk.secret, email=email), 409, "email_taken")
        assert await count_users(desk) == 2

    async def test_one_of_several_concurrent_sign_ups_gets_the_e_mail(self, desk: Desk) -> None:
        emails = ("bo@growfin.test", "BO@growfin.test", "bo@GROWFIN.test")
        answers = await asyncio.gather(*(sign_up(desk, secret=desk.secret, email=email) for email in emails))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"email_taken"}
        assert await count_users(desk) == 2

    async def test_the_same_e_mail_can_be_used_in_another_organisation(
        self, api: Api, database: Database, desk: Desk
    ) -> None:
        other = await create_desk(api, database)
        await desk.another_admin("bo@growfin.test")
        answer = await sign_up(other, secret=other.secret)
        assert (answer.status_code, answer.json()["orgId"]) == (201, str(other.id))


class TestSecretKey:
    async def test_a_secret_key_is_required(self, desk: Desk) -> None:
        assert_problem(await sign_up(desk), 401, "missing_credential")
        assert_problem(await sign_up(desk, secret=None), 401, "missing_credential")
        assert await count_users(desk) == 1

    async def test_a_wrong_secret_key_is_refused(self, desk: Desk) -> None:
        assert_problem(await sign_up(desk, secret=generate_secret_key()), 401, "invalid_secret_key")
        assert_problem(await sign_up(desk, header=desk.secret[:-1] + "!"), 401, "invalid_secret_key")

    async def test_different_secret_keys_in_header_and_body_are_refused(
        self, api: Api, database: Database, desk: Desk
    ) -> None:
        other = await create_desk(api, database)
        assert_problem(await sign_up(desk, header=desk.secret, secret=other.secret), 401, "secret_key_mismatch")
        assert (await count_users(desk), await count_users(other)) == (1, 1)

    async def test_access_tokens_are_refused(self, desk: Desk) -> None:
        for headers, status, code in (
            (desk.admin.headers, 403, "secret_key_required"),
            ({"Authorization": "Bearer hunter2"}, 401, "invalid_token"),
        ):
            assert_problem(
                await desk.api.http.post("/auth/admin/signup", json=ADMIN_BODY, headers=headers), status, code
            )
        assert await count_users(desk) == 1


class TestPassword:
    @pytest.mark.parametrize(
        "password", ["seven77", "xy8" * 43, "x" * 4097, "", None, 12345678, "lamp\0heron", "\x1b[31mlamp"]
    )
    async def test_a_password_of_a_wrong_length_or_type_is_refused(self, desk: Desk, password: Any) -> None:
        assert read_invalid_fields(await sign_up(desk, secret=desk.secret, password=password)) == {"password"}
        assert await count_users(desk) == 1

    @pytest.mark.parametrize(
        "password",
        [
            "password1",
            "PASSWORD",
            "12345678",
            "aaaaaaaa",
            "growfin1",
            "GrowFin!",
            "bo@growfin.test",
            "BO@growfin.test1",
        ],
    )
    async def test_a_weak_password_is_refused(self, desk: Desk, password: str) -> None:
        answer = await sign_up(desk, secret=desk.secret, password=password)
        assert read_invalid_fields(answer, "weak_password") == {"password"}
        assert password not in answer.text
        assert await count_users(desk) == 1

    async def test_spaces_around_a_password_are_part_of_the_password(self, desk: Desk) -> None:
        password = "  heron lamp  "
        assert (await sign_up(desk, secret=desk.secret, password=password)).status_code == 201
        body = {"email": ADMIN_BODY["email"], "org": desk.domain}
        right = await desk.api.http.post("/auth/admin/signin", json=body | {"password": password})
        wrong = await desk.api.http.post("/auth/admin/signin", json=body | {"password": password.strip()})
        assert (right.status_code, wrong.status_code) == (200, 401)

    @pytest.mark.parametrize("password", ["x8?" * 2 + "ab", "é8?" + "lampe" * 25])
    async def test_passwords_of_8_and_128_characters_are_accepted(self, desk: Desk, password: str) -> None:
        assert len(password) in {8, 128}
        assert (await sign_up(desk, secret=desk.secret, password=password)).status_code == 201


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"firstName": ""}, "firstName"),
        ({"firstName": "x" * 101}, "firstName"),
        ({"lastName": "a\0b"}, "lastName"),
        ({"lastName": None}, "lastName"),
        ({"email": "bo"}, "email"),
        ({"email": "bo@growfin.test\r\nBcc: x@y.test"}, "email"),
        ({"email": f"{'b' * 250}@growfin.test"}, "email"),
        ({"secret": 5}, "secret"),
        ({"role": "OWNER"}, "role"),
        ({"status": "ACTIVE"}, "status"),
        ({"orgId": "0190b8e5-0000-7000-8000-000000000001"}, "orgId"),
        ({"id": "0190b8e5-0000-7000-8000-000000000001"}, "id"),
        ({"available": False}, "available"),
        ({"first_name": "Bo"}, "first_name"),
        ({"emailVerified": True}, "emailVerified"),
    ],
)
async def test_an_invalid_field_is_reported_and_no_user_is_created(
    desk: Desk, fields: dict[str, object], wrong: str
) -> None:
    assert read_invalid_fields(await sign_up(desk, header=desk.secret, **fields)) == {wrong}
    assert await count_users(desk) == 1


async def test_all_missing_fields_are_reported_at_once(desk: Desk) -> None:
    answer = await desk.api.http.post("/auth/admin/signup", json={"secret": desk.secret})
    assert read_invalid_fields(answer) == {"firstName", "email", "password"}

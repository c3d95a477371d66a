"""Public sign-up, which does not reveal whether an e-mail is known."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, event, select, update

from app.accounts.users.models import Credential
from app.core.database.pool import Database
from app.core.security.opaque_tokens import make_link_token
from app.organisations.models import Organisation
from tests.accounts.stored_rows import list_account_events, list_links, list_users, tables_containing
from tests.authentication.account_state import verify_email
from tests.organisation_client import JSON, PASSWORD, Api, Desk, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, unique_email

CUSTOMER_ROLE = "00000000-0000-7000-8000-000000000003"
DIFFERENT_FIELDS = {"id", "createdAt"}


def body_for(desk: Desk, email: str, **fields: object) -> JSON:
    return {
        "org": desk.domain, "firstName": "Mia", "lastName": "Ek", "email": email, "password": PASSWORD, **fields,
    }  # fmt: skip


async def sign_up(desk: Desk, email: str, **fields: object) -> httpx.Response:
    return await desk.api.http.post("/auth/signup", json=body_for(desk, email, **fields))


async def sign_in(desk: Desk, email: str, password: str = PASSWORD, path: str = "/auth/signin") -> httpx.Response:
    return await desk.api.http.post(path, json={"org": desk.domain, "email": email, "password": password})


@contextmanager
def recorded_statements() -> Iterator[list[str]]:
    """Collect the first words of the statements that the block executes."""
    statements: list[str] = []

    def add(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(" ".join(statement.split()[:3]))

    event.listen(Engine, "before_cursor_execute", add)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", add)


class TestNewAddress:
    async def test_a_customer_is_active_at_once(self, desk: Desk) -> None:
        email = unique_email()
        answer = await sign_up(desk, email.upper(), firstName=" Mia ", org=f" {desk.domain.upper()} ")

        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == "/me"
        created = answer.json()
        assert UUID(created["id"]).version == 7
        assert created["createdAt"].endswith("Z")
        assert {name: value for name, value in created.items() if name not in DIFFERENT_FIELDS} == {
            "orgId": str(desk.id), "firstName": "Mia", "lastName": "Ek", "email": email, "role": "CUSTOMER",
            "roleId": CUSTOMER_ROLE, "designation": "Customer", "status": "ACTIVE", "available": False,
            "emailVerified": False, "secondFactor": False, "pictureUrl": None,
        }  # fmt: skip
        response = await sign_in(desk, email, path="/auth/customer/signin")
        assert (response.status_code, response.json()["user"]["id"]) == (200, created["id"])

    @pytest.mark.parametrize("role", ["ENGINEER", "ADMIN"])
    async def test_engineers_and_admins_wait_for_approval_and_get_no_tickets(self, desk: Desk, role: str) -> None:
        await desk.admin.patch("/me", {"available": False})
        email = unique_email()
        created = (await sign_up(desk, email, role=role)).json()

        assert (created["role"], created["status"], created["available"]) == (role, "PENDING", False)
        assert_problem(await sign_in(desk, email), 403, "account_pending")
        assert_problem(await sign_in(desk, email, "amber-otter-58-desk"), 401, "wrong_email_or_password")
        assert (await desk.open())["adminId"] is None

    @pytest.mark.parametrize(("role", "status"), [("CUSTOMER", "ACTIVE"), ("ENGINEER", "PENDING")])
    async def test_the_history_of_a_sign_up_contains_no_name(self, desk: Desk, role: str, status: str) -> None:
        created = (await sign_up(desk, unique_email(), role=role)).json()
        (signed_up, about), (requested, link) = await list_account_events(desk)
        assert (signed_up, about) == ("user.signed_up", {"userId": created["id"], "role": role, "status": status})
        assert (requested, link["userId"], link["purpose"]) == (
            "user.link_requested", created["id"], "VERIFY_EMAIL",
        )  # fmt: skip

    async def test_the_mailed_link_verifies_the_address(self, desk: Desk) -> None:
        email = unique_email()
        await sign_up(desk, email)
        (link,) = await list_links(desk)
        assert (link.email, link.purpose) == (email, "VERIFY_EMAIL")
        token = make_link_token(desk.api.secret_key, desk.id, link.id)

        assert (await verify_email(desk.api.http, token)).status_code == 200
        assert (await list_users(desk, email))[0].email_verified_at is not None

    async def test_the_same_address_can_sign_up_in_two_organisations(
        self, api: Api, database: Database, desk: Desk
    ) -> None:
        email, other = unique_email(), await create_desk(api, database)
        one, two = (await sign_up(desk, email)).json(), (await sign_up(other, email)).json()
        assert one["orgId"] != two["orgId"]
        for created, where in ((one, desk), (two, other)):
            assert (await sign_in(where, email)).json()["user"]["id"] == created["id"]

    async def test_passwords_and_tokens_are_not_stored(self, desk: Desk, server: TestServer) -> None:
        email, password = unique_email(), f"heron {unique_email()} lamp"
        await sign_up(desk, email, password=password)
        await sign_up(desk, email, password=password + "!")
        (link,) = await list_links(desk)
        assert await tables_containing(server, password) == set()
        assert await tables_containing(server, make_link_token(desk.api.secret_key, desk.id, link.id)[4:60]) == set()
        assert "users" in await tables_containing(server, email)  # the search works


class TestKnownAddress:
    @pytest.mark.parametrize("role", ["CUSTOMER", "ENGINEER", "ADMIN"])
    async def test_the_response_is_the_same_as_for_an_unknown_address(self, desk: Desk, role: str) -> None:
        email = unique_email()
        first, second, third = [await sign_up(desk, email, role=role) for _ in range(3)]
        for again in (second, third):
            assert again.status_code == first.status_code == 201
            assert again.headers.keys() == first.headers.keys()
            assert again.headers["location"] == first.headers["location"]
            assert list(again.json()) == list(first.json())
            different = {name for name, value in again.json().items() if value != first.json()[name]}
            assert different == DIFFERENT_FIELDS
            assert UUID(again.json()["id"]).version == 7
            assert again.json()["createdAt"] > first.json()["createdAt"]

    async def test_the_response_contains_only_what_was_sent(self, desk: Desk) -> None:
        unknown = (await sign_up(desk, unique_email(), firstName="Eve", role="ENGINEER")).json()
        known = (await sign_up(desk, desk.admin.email, firstName="Eve", role="ENGINEER")).json()
        assert known | {"id": "", "createdAt": ""} == unknown | {"id": "", "createdAt": "", "email": desk.admin.email}
        assert known["id"] != str(desk.admin.id)

    async def test_the_existing_account_and_its_password_stay(self, desk: Desk) -> None:
        email = unique_email()
        created = (await sign_up(desk, email)).json()
        before, links = await list_users(desk, email), len(await list_links(desk))

        await sign_up(desk, email, firstName="Eve", role="ADMIN", password="amber-otter-58-desk")

        (row,) = await list_users(desk, email)
        assert (str(row.id), row.first_name, row.role_kind, row.status) == (created["id"], "Mia", "CUSTOMER", "ACTIVE")
        assert [before[0].id] == [row.id]
        assert len(await list_links(desk)) == links
        assert (await sign_in(desk, email)).status_code == 200
        assert_problem(await sign_in(desk, email, "amber-otter-58-desk"), 401, "wrong_email_or_password")
        async with desk.database.session(desk.id) as db:
            credentials = (await db.scalars(select(Credential.email).where(Credential.org_id == desk.id))).all()
        assert sorted(credentials) == sorted([email, desk.admin.email])

    async def test_only_the_owner_of_the_address_is_notified(self, desk: Desk) -> None:
        email = unique_email()
        created = (await sign_up(desk, email)).json()
        seen = len(await list_account_events(desk))
        await sign_up(desk, email, role="ADMIN")
        assert (await list_account_events(desk))[seen:] == [("user.email_claimed", {"userId": created["id"]})]

    async def test_the_address_of_an_invited_user_is_taken(self, desk: Desk) -> None:
        email = unique_email()
        body = {"firstName": "Mia", "lastName": "Ek", "email": email, "role": "ENGINEER"}
        invited = (await desk.admin.post("/users", body)).json()
        answer = await sign_up(desk, email, role="ENGINEER")
        assert (answer.status_code, answer.json()["status"]) == (201, "PENDING")
        (row,) = await list_users(desk, email)
        assert (str(row.id), row.status) == (invited["id"], "INVITED")
        assert_problem(await sign_in(desk, email), 401, "wrong_email_or_password")

    async def test_the_database_executes_the_same_statements(self, desk: Desk) -> None:
        email = unique_email()
        for role in ("CUSTOMER", "ADMIN"):
            with recorded_statements() as new:
                await sign_up(desk, f"{role}.{email}".lower(), role=role)
            with recorded_statements() as again:
                await sign_up(desk, f"{role}.{email}".lower(), role=role)
            released, undone = "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT"
            inserted = {one.split()[2] for one in again if one.startswith("INSERT INTO")}
            assert inserted == {"users", "credentials", "user_words", "links", "events"}
            assert sorted(one for one in new if not one.startswith(released)) == sorted(
                one for one in again if not one.startswith(undone)
            )

    async def test_one_of_several_concurrent_sign_ups_gets_the_address(self, desk: Desk) -> None:
        email = unique_email()
        answers = await asyncio.gather(*(sign_up(desk, email.upper() if n % 2 else email) for n in range(4)))
        assert [answer.status_code for answer in answers] == [201] * 4
        ids = {answer.json()["id"] for answer in answers}
        assert len(ids) == 4
        (row,) = await list_users(desk, email)
        assert str(row.id) in ids
        assert [kind for kind, _ in await list_account_events(desk)].count("user.signed_up") == 1
        assert [data for kind, data in await list_account_events(desk) if kind == "user.email_claimed"] == [
            {"userId": str(row.id)}
        ] * 3
        assert (await sign_in(desk, email)).status_code == 200


class TestRefusals:
    async def test_an_unknown_organisation_is_not_found(self, desk: Desk) -> None:
        assert_problem(await sign_up(desk, unique_email(), org="unknown.growfin.test"), 404, "organisation_not_found")

    async def test_a_suspended_organisation_is_not_found(self, desk: Desk) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        email = unique_email()
        assert_problem(await sign_up(desk, email), 404, "organisation_not_found")
        assert await list_users(desk, email) == []

    @pytest.mark.parametrize("password", ["password1", "growfin1", "Mia Ek Mia"])
    async def test_a_weak_password_is_refused(self, desk: Desk, password: str) -> None:
        fields: Any = {"password": password, "firstName": "Mia Ek Mia"}
        unknown = f"ada@{desk.domain}"
        known = await sign_up(desk, desk.admin.email, **fields)
        assert read_invalid_fields(known, "weak_password") == {"password"}
        new = await sign_up(desk, unknown, **fields)
        assert known.json() | {"requestId": ""} == new.json() | {"requestId": ""}
        assert await list_users(desk, unknown) == []
        assert await list_account_events(desk) == []

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"status": "ACTIVE"}, "status"),
            ({"orgId": "0190b8e5-0000-7000-8000-000000000001"}, "orgId"),
            ({"id": "0190b8e5-0000-7000-8000-000000000001"}, "id"),
            ({"roleId": "00000000-0000-7000-8000-000000000001"}, "roleId"),
            ({"available": True}, "available"),
            ({"permissions": []}, "permissions"),
            ({"granted": ["users:create"]}, "granted"),
            ({"emailVerified": True}, "emailVerified"),
            ({"secondFactor": True}, "secondFactor"),
            ({"secret": None}, "secret"),
            ({"role": "OWNER"}, "role"),
            ({"role": None}, "role"),
            ({"role": ["ADMIN"]}, "role"),
            ({"org": None}, "org"),
            ({"org": "no domain"}, "org"),
            ({"firstName": ""}, "firstName"),
            ({"lastName": "a\0b"}, "lastName"),
            ({"email": "mia"}, "email"),
            ({"password": "seven77"}, "password"),
            ({"first_name": "Mia"}, "first_name"),
        ],
    )
    async def test_an_invalid_field_is_reported_and_no_user_is_created(
        self, desk: Desk, fields: dict[str, object], wrong: str
    ) -> None:
        answer = await desk.api.http.post("/auth/signup", json=body_for(desk, unique_email()) | fields)
        assert read_invalid_fields(answer) == {wrong}
        assert await list_account_events(desk) == []


class TestLimits:
    async def test_sign_ups_are_limited_per_address(self, start: Start, desk: Desk) -> None:
        service = await start(sign_up_limit="2/hour")
        one, other = service.at("198.51.100.7"), service.at("198.51.100.8")
        statuses = [(await one.post("/auth/signup", json=body_for(desk, unique_email()))).status_code for _ in range(2)]
        assert statuses == [201, 201]
        assert_problem(await one.post("/auth/signup", json=body_for(desk, unique_email())), 429, "rate_limited")
        forwarded = {"X-Forwarded-For": "198.51.100.9"}
        again = await one.post("/auth/signup", json=body_for(desk, unique_email()), headers=forwarded)
        assert_problem(again, 429, "rate_limited")
        # One network does not use up the limit of others.
        assert (await other.post("/auth/signup", json=body_for(desk, unique_email()))).status_code == 201

    async def test_sign_ups_in_unknown_organisations_count_too(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_up_limit="1/hour")).at("198.51.100.7")
        nowhere = body_for(desk, unique_email()) | {"org": "nowhere.test"}
        assert_problem(await http.post("/auth/signup", json=nowhere), 404, "organisation_not_found")
        assert_problem(await http.post("/auth/signup", json=nowhere), 429, "rate_limited")

    async def test_mails_are_limited_per_e_mail_address_whether_or_not_an_account_has_it(
        self, start: Start, desk: Desk
    ) -> None:
        service = await start()
        for email in (desk.admin.email, unique_email()):
            answers = [await service.at("198.51.100.7").post("/auth/signup", json=body_for(desk, email))
                       for _ in range(6)]  # fmt: skip
            assert [answer.status_code for answer in answers] == [201] * 5 + [429]

    async def test_sign_ups_with_weak_passwords_do_not_count_as_mails(self, start: Start, desk: Desk) -> None:
        service, email = await start(), unique_email()
        http = service.at("198.51.100.7")
        for _ in range(6):
            weak = await http.post("/auth/signup", json=body_for(desk, email, password="password1"))
            assert_problem(weak, 422, "weak_password")
        assert (await http.post("/auth/signup", json=body_for(desk, email))).status_code == 201

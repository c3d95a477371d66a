"""Anybody signs up at an organisation; nobody learns from it whose e-mail is known there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, event, select, update

from app.accounts.single_use_links.models import Link
from app.accounts.users.models import Credential, User
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.core.security.opaque_tokens import make_link_token
from app.organisations.models import Organisation
from tests.conftest import connect
from tests.organisation_client import JSON, PASSWORD, Api, Desk, create_desk
from tests.postgres import TestServer
from tests.problems import refused, wrong_fields
from tests.services import Start, unique_email

CUSTOMER_ROLE = "00000000-0000-7000-8000-000000000003"
NOT_THE_SAME = {"id", "createdAt"}


def body_for(desk: Desk, email: str, **fields: object) -> JSON:
    return {
        "org": desk.domain, "firstName": "Mia", "lastName": "Ek", "email": email, "password": PASSWORD, **fields,
    }  # fmt: skip


async def sign_up(desk: Desk, email: str, **fields: object) -> httpx.Response:
    return await desk.api.http.post("/auth/signup", json=body_for(desk, email, **fields))


async def sign_in(desk: Desk, email: str, password: str = PASSWORD, door: str = "/auth/signin") -> httpx.Response:
    return await desk.api.http.post(door, json={"org": desk.domain, "email": email, "password": password})


async def rows_of(desk: Desk, email: str) -> list[User]:
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(User).where(User.org_id == desk.id, User.email == email)))


async def links_of(desk: Desk) -> list[Link]:
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(Link).where(Link.org_id == desk.id).order_by(Link.id)))


async def events_of(desk: Desk) -> list[tuple[str, JSON]]:
    """What happened since there is an admin."""
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [(row.type, {"userId": str(row.subject_id), **row.data}) for row in rows if row.subject_id != desk.admin.id][
        1:
    ]


async def tables_with(server: TestServer, text: str) -> set[str]:
    """The tables that hold this text anywhere, as text or as bytes."""
    connection = await connect(server.superuser_url)
    try:
        names = [row[0] for row in await connection.fetch("SELECT relname FROM pg_stat_user_tables")]
        return {
            name
            for name in names
            if await connection.fetchval(
                f'SELECT EXISTS (SELECT FROM "{name}" t WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0)',
                text,
                text.encode().hex(),
            )
        }
    finally:
        await connection.close()


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """The first words of what is sent to databases meanwhile."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(" ".join(statement.split()[:3]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


class TestSomebodyNew:
    async def test_a_customer_is_active_at_once(self, desk: Desk) -> None:
        email = unique_email()
        answer = await sign_up(desk, email.upper(), firstName=" Mia ", org=f" {desk.domain.upper()} ")

        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == "/me"
        made = answer.json()
        assert UUID(made["id"]).version == 7
        assert made["createdAt"].endswith("Z")
        assert {name: value for name, value in made.items() if name not in NOT_THE_SAME} == {
            "orgId": str(desk.id), "firstName": "Mia", "lastName": "Ek", "email": email, "role": "CUSTOMER",
            "roleId": CUSTOMER_ROLE, "designation": "Customer", "status": "ACTIVE", "available": False,
            "emailVerified": False, "secondFactor": False, "pictureUrl": None,
        }  # fmt: skip
        signed_in = await sign_in(desk, email, door="/auth/customer/signin")
        assert (signed_in.status_code, signed_in.json()["user"]["id"]) == (200, made["id"])

    @pytest.mark.parametrize("role", ["ENGINEER", "ADMIN"])
    async def test_others_wait_for_approval_and_get_no_tickets(self, desk: Desk, role: str) -> None:
        await desk.admin.patch("/me", {"available": False})
        email = unique_email()
        made = (await sign_up(desk, email, role=role)).json()

        assert (made["role"], made["status"], made["available"]) == (role, "PENDING", False)
        refused(await sign_in(desk, email), 403, "account_pending")
        refused(await sign_in(desk, email, "amber-otter-58-desk"), 401, "wrong_email_or_password")
        assert (await desk.open())["adminId"] is None

    @pytest.mark.parametrize(("role", "status"), [("CUSTOMER", "ACTIVE"), ("ENGINEER", "PENDING")])
    async def test_the_history_says_so_without_a_name(self, desk: Desk, role: str, status: str) -> None:
        made = (await sign_up(desk, unique_email(), role=role)).json()
        (signed_up, about), (requested, link) = await events_of(desk)
        assert (signed_up, about) == ("user.signed_up", {"userId": made["id"], "role": role, "status": status})
        assert (requested, link["userId"], link["purpose"]) == (
            "user.link_requested", made["id"], "VERIFY_EMAIL",
        )  # fmt: skip

    async def test_the_link_that_is_mailed_proves_the_address(self, desk: Desk) -> None:
        email = unique_email()
        await sign_up(desk, email)
        (link,) = await links_of(desk)
        assert (link.email, link.purpose) == (email, "VERIFY_EMAIL")
        token = make_link_token(desk.api.secret_key, desk.id, link.id)

        assert (await desk.api.http.post("/auth/email/verify", json={"token": token})).status_code == 200

        assert (await rows_of(desk, email))[0].email_verified_at is not None

    async def test_another_organisation_has_them_as_somebody_else(
        self, api: Api, database: Database, desk: Desk
    ) -> None:
        email, other = unique_email(), await create_desk(api, database)
        one, two = (await sign_up(desk, email)).json(), (await sign_up(other, email)).json()
        assert one["orgId"] != two["orgId"]
        for made, where in ((one, desk), (two, other)):
            assert (await sign_in(where, email)).json()["user"]["id"] == made["id"]

    async def test_no_password_or_token_is_anywhere_in_the_database(self, desk: Desk, server: TestServer) -> None:
        email, password = unique_email(), f"heron {unique_email()} lamp"
        await sign_up(desk, email, password=password)
        await sign_up(desk, email, password=password + "!")
        (link,) = await links_of(desk)
        assert await tables_with(server, password) == set()
        assert await tables_with(server, make_link_token(desk.api.secret_key, desk.id, link.id)[4:60]) == set()
        assert "users" in await tables_with(server, email)  # it does find what is there


class TestAKnownEmail:
    @pytest.mark.parametrize("role", ["CUSTOMER", "ENGINEER", "ADMIN"])
    async def test_the_answer_is_that_to_an_unknown_one(self, desk: Desk, role: str) -> None:
        email = unique_email()
        first, second, third = [await sign_up(desk, email, role=role) for _ in range(3)]
        for again in (second, third):
            assert again.status_code == first.status_code == 201
            assert again.headers.keys() == first.headers.keys()
            assert again.headers["location"] == first.headers["location"]
            assert list(again.json()) == list(first.json())
            different = {name for name, value in again.json().items() if value != first.json()[name]}
            assert different == NOT_THE_SAME
            assert UUID(again.json()["id"]).version == 7
            assert again.json()["createdAt"] > first.json()["createdAt"]

    async def test_it_is_an_echo_that_tells_nothing_of_the_owner(self, desk: Desk) -> None:
        unknown = (await sign_up(desk, unique_email(), firstName="Eve", role="ENGINEER")).json()
        known = (await sign_up(desk, desk.admin.email, firstName="Eve", role="ENGINEER")).json()
        assert known | {"id": "", "createdAt": ""} == unknown | {"id": "", "createdAt": "", "email": desk.admin.email}
        assert known["id"] != str(desk.admin.id)

    async def test_nothing_changes_and_the_first_password_stays(self, desk: Desk) -> None:
        email = unique_email()
        made = (await sign_up(desk, email)).json()
        before, links = await rows_of(desk, email), len(await links_of(desk))

        await sign_up(desk, email, firstName="Eve", role="ADMIN", password="amber-otter-58-desk")

        (row,) = await rows_of(desk, email)
        assert (str(row.id), row.first_name, row.role_kind, row.status) == (made["id"], "Mia", "CUSTOMER", "ACTIVE")
        assert [before[0].id] == [row.id]
        assert len(await links_of(desk)) == links
        assert (await sign_in(desk, email)).status_code == 200
        refused(await sign_in(desk, email, "amber-otter-58-desk"), 401, "wrong_email_or_password")
        async with desk.database.session(desk.id) as db:
            credentials = (await db.scalars(select(Credential.email).where(Credential.org_id == desk.id))).all()
        assert sorted(credentials) == sorted([email, desk.admin.email])

    async def test_its_owner_is_told_and_nobody_else_is_mentioned(self, desk: Desk) -> None:
        email = unique_email()
        made = (await sign_up(desk, email)).json()
        seen = len(await events_of(desk))
        await sign_up(desk, email, role="ADMIN")
        assert (await events_of(desk))[seen:] == [("user.email_claimed", {"userId": made["id"]})]

    async def test_somebody_who_was_invited_owns_theirs(self, desk: Desk) -> None:
        email = unique_email()
        body = {"firstName": "Mia", "lastName": "Ek", "email": email, "role": "ENGINEER"}
        invited = (await desk.admin.post("/users", body)).json()
        answer = await sign_up(desk, email, role="ENGINEER")
        assert (answer.status_code, answer.json()["status"]) == (201, "PENDING")
        (row,) = await rows_of(desk, email)
        assert (str(row.id), row.status) == (invited["id"], "INVITED")
        refused(await sign_in(desk, email), 401, "wrong_email_or_password")

    async def test_the_database_does_the_same_work(self, desk: Desk) -> None:
        email = unique_email()
        for role in ("CUSTOMER", "ADMIN"):
            with counted_statements() as new:
                await sign_up(desk, f"{role}.{email}".lower(), role=role)
            with counted_statements() as again:
                await sign_up(desk, f"{role}.{email}".lower(), role=role)
            released, undone = "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT"
            inserted = {one.split()[2] for one in again if one.startswith("INSERT INTO")}
            assert inserted == {"users", "credentials", "user_words", "links", "events"}
            assert sorted(one for one in new if not one.startswith(released)) == sorted(
                one for one in again if not one.startswith(undone)
            )

    async def test_of_those_who_use_one_at_the_same_moment_one_has_it(self, desk: Desk) -> None:
        email = unique_email()
        answers = await asyncio.gather(*(sign_up(desk, email.upper() if n % 2 else email) for n in range(4)))
        assert [answer.status_code for answer in answers] == [201] * 4
        ids = {answer.json()["id"] for answer in answers}
        assert len(ids) == 4
        (row,) = await rows_of(desk, email)
        assert str(row.id) in ids
        assert [kind for kind, _ in await events_of(desk)].count("user.signed_up") == 1
        assert [data for kind, data in await events_of(desk) if kind == "user.email_claimed"] == [
            {"userId": str(row.id)}
        ] * 3
        assert (await sign_in(desk, email)).status_code == 200


class TestRefusals:
    async def test_an_organisation_that_there_is_not(self, desk: Desk) -> None:
        refused(await sign_up(desk, unique_email(), org="nobody.growfin.test"), 404, "organisation_not_found")

    async def test_one_that_is_suspended(self, desk: Desk) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        email = unique_email()
        refused(await sign_up(desk, email), 404, "organisation_not_found")
        assert await rows_of(desk, email) == []

    @pytest.mark.parametrize("password", ["password1", "growfin1", "Mia Ek Mia"])
    async def test_a_password_that_anybody_would_guess(self, desk: Desk, password: str) -> None:
        fields: Any = {"password": password, "firstName": "Mia Ek Mia"}
        unknown = f"ada@{desk.domain}"
        known = await sign_up(desk, desk.admin.email, **fields)
        assert wrong_fields(known, "weak_password") == {"password"}
        new = await sign_up(desk, unknown, **fields)
        assert known.json() | {"requestId": ""} == new.json() | {"requestId": ""}
        assert await rows_of(desk, unknown) == []
        assert await events_of(desk) == []

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
    async def test_a_wrong_field_is_named_and_nobody_is_made(
        self, desk: Desk, fields: dict[str, object], wrong: str
    ) -> None:
        answer = await desk.api.http.post("/auth/signup", json=body_for(desk, unique_email()) | fields)
        assert wrong_fields(answer) == {wrong}
        assert await events_of(desk) == []


class TestLimits:
    async def test_an_address_can_sign_up_so_often(self, start: Start, desk: Desk) -> None:
        service = await start(sign_up_limit="2/hour")
        one, other = service.at("198.51.100.7"), service.at("198.51.100.8")
        statuses = [(await one.post("/auth/signup", json=body_for(desk, unique_email()))).status_code for _ in range(2)]
        assert statuses == [201, 201]
        refused(await one.post("/auth/signup", json=body_for(desk, unique_email())), 429, "rate_limited")
        forwarded = {"X-Forwarded-For": "198.51.100.9"}
        again = await one.post("/auth/signup", json=body_for(desk, unique_email()), headers=forwarded)
        refused(again, 429, "rate_limited")
        # One stranger does not use up what is everybody's.
        assert (await other.post("/auth/signup", json=body_for(desk, unique_email()))).status_code == 201

    async def test_it_can_ask_as_rarely_which_organisations_there_are(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_up_limit="1/hour")).at("198.51.100.7")
        nowhere = body_for(desk, unique_email()) | {"org": "nowhere.test"}
        refused(await http.post("/auth/signup", json=nowhere), 404, "organisation_not_found")
        refused(await http.post("/auth/signup", json=nowhere), 429, "rate_limited")

    async def test_an_e_mail_is_written_to_so_often_whether_or_not_it_is_known(self, start: Start, desk: Desk) -> None:
        service = await start()
        for email in (desk.admin.email, unique_email()):
            answers = [await service.at("198.51.100.7").post("/auth/signup", json=body_for(desk, email))
                       for _ in range(6)]  # fmt: skip
            assert [answer.status_code for answer in answers] == [201] * 5 + [429]

    async def test_weak_passwords_do_not_count_as_mails(self, start: Start, desk: Desk) -> None:
        service, email = await start(), unique_email()
        http = service.at("198.51.100.7")
        for _ in range(6):
            weak = await http.post("/auth/signup", json=body_for(desk, email, password="password1"))
            refused(weak, 422, "weak_password")
        assert (await http.post("/auth/signup", json=body_for(desk, email))).status_code == 201

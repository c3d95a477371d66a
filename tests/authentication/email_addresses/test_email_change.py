"""Another e-mail takes the password, and a click on a link that was mailed to it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from app.access.attempts import MAIL_LIMIT
from app.accounts.single_use_links.models import Purpose
from app.accounts.users.models import PersonWord
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.core.security.passwords import hash_password, salt_of
from tests.accounts.conftest import Start, an_email, somebody
from tests.authentication.passwords.recovering import (
    NEW_PASSWORD,
    a_link,
    change_row,
    credential_of,
    events_about,
    expire_links,
    links_of,
    row_of,
    sign_in,
    take_password,
    token_for,
)
from tests.conftest import SECRET_KEY
from tests.desks import PASSWORD, Api, Desk, Person, a_desk
from tests.problems import refused, wrong_fields

WRONG = "cobalt-heron-47-lamq"


async def ask(person: Person, email: str, password: str | None = PASSWORD, **more: object) -> httpx.Response:
    given = {} if password is None else {"password": password}
    return await person.post("/auth/email/change", {"email": email, **given, **more})


async def click(api: Api, desk: Desk, person: Person) -> httpx.Response:
    token = await token_for(desk, person.id, Purpose.CHANGE_EMAIL)
    return await api.http.post("/auth/email/verify", json={"token": token})


@pytest.fixture
async def person(desk: Desk) -> Person:
    return await somebody(desk)


@pytest.fixture
def new() -> str:
    return an_email()


async def test_nothing_changes_until_the_click(api: Api, desk: Desk, person: Person, new: str) -> None:
    answer = await ask(person, new.upper())
    assert answer.status_code == 202
    assert answer.json() == {"message": "Follow the link in the mail to the new address: until then, nothing changes."}
    [link] = await links_of(desk, person.id)
    assert (link.purpose, link.email) == ("CHANGE_EMAIL", new)
    assert (await person.get("/me")).json()["email"] == person.email
    assert (await sign_in(api.http, person.email)).status_code == 200
    refused(await sign_in(api.http, new), 401, "wrong_email_or_password")
    assert await events_about(desk, person.id) == ["person.link_requested"]


async def test_after_it_the_new_one_is_theirs_with_the_same_password(api: Api, database: Database, new: str) -> None:
    desk = await a_desk(api, database, sandbox=False)  # whose people are remembered
    person = await somebody(desk)
    await ask(person, new)
    token = await token_for(desk, person.id, Purpose.CHANGE_EMAIL)
    answer = await click(api, desk, person)
    assert (answer.status_code, answer.json()) == (200, {"email": new, "verified": True})
    me = (await person.get("/me")).json()
    assert (me["email"], me["emailVerified"]) == (new, True), "and they stay signed in"
    assert (await sign_in(api.http, new)).status_code == 200
    refused(await sign_in(api.http, person.email), 401, "wrong_email_or_password")
    refused(await api.http.post("/auth/email/verify", json={"token": token}), 422, "link_expired")


async def test_the_hash_has_the_salt_of_its_email(api: Api, desk: Desk, person: Person, new: str) -> None:
    await ask(person, new)
    await click(api, desk, person)
    moved = (await credential_of(desk, person.id)).password_hash
    # As if they had signed up with it: one computation still compares all accounts of an e-mail.
    assert moved == await hash_password(PASSWORD, salt_of(SECRET_KEY, new))


async def test_what_happened_is_told_without_addresses(api: Api, desk: Desk, person: Person, new: str) -> None:
    await ask(person, new)
    await click(api, desk, person)
    assert await events_about(desk, person.id) == [
        "person.link_requested",
        "person.email_changed",
        "person.email_verified",
    ]
    async with desk.database.session(desk.id) as db:
        stored = (await db.scalars(select(EventRow.data).where(EventRow.org_id == desk.id))).all()
    assert "@" not in repr(stored)


async def test_they_are_found_by_the_new_one_only(api: Api, desk: Desk, person: Person) -> None:
    async def words() -> set[str]:
        async with desk.database.session(desk.id) as db:
            which = (PersonWord.org_id == desk.id, PersonWord.person_id == person.id)
            return set(await db.scalars(select(PersonWord.word).where(*which)))

    await ask(person, f"countess@{desk.domain}")
    assert person.email.partition("@")[0] in await words()
    assert "countess" not in await words()
    await click(api, desk, person)
    assert "countess" in await words()
    assert person.email.partition("@")[0] not in await words()


async def test_links_to_the_old_address_lead_nowhere(api: Api, desk: Desk, person: Person, new: str) -> None:
    await a_link(desk, person.id, person.email, Purpose.RESET_PASSWORD)
    await a_link(desk, person.id, person.email, Purpose.VERIFY_EMAIL)
    await ask(person, new)
    assert len(await links_of(desk, person.id)) == 3
    assert (await click(api, desk, person)).status_code == 200
    assert await links_of(desk, person.id) == []


async def test_who_mistyped_it_asks_again_and_the_slip_leads_nowhere(
    api: Api, desk: Desk, person: Person, new: str
) -> None:
    await ask(person, an_email())
    slip = await token_for(desk, person.id, Purpose.CHANGE_EMAIL)
    await ask(person, new)

    refused(await api.http.post("/auth/email/verify", json={"token": slip}), 422, "link_expired")
    assert (await click(api, desk, person)).status_code == 200
    assert (await person.get("/me")).json()["email"] == new


class TestPassword:
    async def test_a_wrong_one_is_refused_and_signs_nobody_out(self, desk: Desk, person: Person, new: str) -> None:
        for password in (WRONG, None):
            refused(await ask(person, new, password), 403, "wrong_password")
        assert (await person.get("/me")).status_code == 200
        assert await links_of(desk, person.id) == []

    async def test_who_has_none_needs_none(self, api: Api, desk: Desk, person: Person, new: str) -> None:
        await take_password(desk, person.id)
        assert (await ask(person, new, None)).status_code == 202
        assert (await click(api, desk, person)).status_code == 200
        credential = await credential_of(desk, person.id)
        assert (credential.email, credential.password_hash) == (new, None)

    async def test_a_change_of_it_in_between_stops_the_change_of_email(
        self, api: Api, desk: Desk, person: Person, new: str
    ) -> None:
        await ask(person, new)
        token = await token_for(desk, person.id, Purpose.CHANGE_EMAIL)
        body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        assert (await person.post("/auth/password/change", body)).status_code == 204
        refused(await api.http.post("/auth/email/verify", json={"token": token}), 422, "link_expired")
        assert (await sign_in(api.http, person.email, NEW_PASSWORD)).status_code == 200

    async def test_and_so_does_a_reset(self, api: Api, desk: Desk, person: Person, new: str) -> None:
        await ask(person, new)
        token = await token_for(desk, person.id, Purpose.CHANGE_EMAIL)
        reset = await a_link(desk, person.id, person.email, Purpose.RESET_PASSWORD)
        body = {"token": reset, "newPassword": NEW_PASSWORD}
        assert (await api.http.post("/auth/password/reset", json=body)).status_code == 204
        refused(await api.http.post("/auth/email/verify", json={"token": token}), 422, "link_expired")
        assert (await sign_in(api.http, person.email, NEW_PASSWORD)).status_code == 200

    async def test_or_both_at_the_same_moment(self, desk: Desk, person: Person, new: str) -> None:
        body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        changed, asked = await asyncio.gather(person.post("/auth/password/change", body), ask(person, new))
        assert changed.status_code == 204
        assert asked.status_code in {202, 403}
        assert await links_of(desk, person.id, Purpose.CHANGE_EMAIL) == [], "the old hash cannot come back"


class TestTaken:
    async def test_its_owner_is_told_and_the_answer_is_the_same(self, desk: Desk, person: Person, new: str) -> None:
        other = await somebody(desk)
        free, taken = await ask(person, new), await ask(person, other.email)
        for answer in (free, taken):
            answer.headers.pop("x-request-id")
        assert (taken.status_code, taken.content, taken.headers) == (202, free.content, free.headers)
        assert await links_of(desk, person.id) == [], "what was asked before is replaced, as by a free one"
        assert await events_about(desk, other.id) == ["person.email_claimed"]

    async def test_by_somebody_of_another_organisation_is_not_taken(
        self, api: Api, database: Database, desk: Desk, person: Person
    ) -> None:
        other = await somebody(await a_desk(api, database))
        await ask(person, other.email)
        assert (await click(api, desk, person)).status_code == 200
        assert (await other.get("/me")).json()["email"] == other.email

    async def test_between_the_question_and_the_click(self, api: Api, desk: Desk, person: Person, new: str) -> None:
        await ask(person, new)
        await somebody(desk, new)
        refused(await click(api, desk, person), 422, "link_expired")
        assert (await row_of(desk, person.id)).email == person.email
        assert (await sign_in(api.http, person.email)).status_code == 200

    async def test_of_two_who_want_it_at_the_same_moment_one_gets_it(
        self, api: Api, desk: Desk, person: Person, new: str
    ) -> None:
        other = await somebody(desk)
        await asyncio.gather(ask(person, new), ask(other, new))
        answers = await asyncio.gather(click(api, desk, person), click(api, desk, other))
        assert sorted(answer.status_code for answer in answers) == [200, 422]
        emails = {(await row_of(desk, one.id)).email for one in (person, other)}
        assert len(emails) == 2
        assert new in emails


async def test_the_present_one_again_is_refused(desk: Desk, person: Person) -> None:
    assert wrong_fields(await ask(person, person.email.upper()), "same_email") == {"email"}
    assert await links_of(desk, person.id) == []


async def test_a_link_that_has_expired_changes_nothing(api: Api, desk: Desk, person: Person, new: str) -> None:
    await ask(person, new)
    await expire_links(desk, person.id)
    refused(await click(api, desk, person), 422, "link_expired")
    assert (await row_of(desk, person.id)).email == person.email


async def test_nor_does_one_of_somebody_suspended_meanwhile(api: Api, desk: Desk, person: Person, new: str) -> None:
    await ask(person, new)
    await change_row(desk, person.id, status="SUSPENDED")
    refused(await click(api, desk, person), 422, "link_expired")
    assert (await row_of(desk, person.id)).email == person.email


async def test_nobody_gets_more_than_a_few_mails_that_they_did_not_ask_for(start: Start, desk: Desk, new: str) -> None:
    service, mails = await start(), int(MAIL_LIMIT.partition("/")[0])
    person = await somebody(desk)
    there = Person(person.id, person.email, service.at("203.0.113.66"), person.headers, person.session_id)
    assert [(await ask(there, new)).status_code for _ in range(mails + 1)] == [202] * mails + [429]
    assert (await ask(there, an_email())).status_code == 202


async def test_what_else_a_body_says_is_refused(person: Person, new: str) -> None:
    for field in ("role", "status", "orgId", "personId", "emailVerified"):
        assert wrong_fields(await ask(person, new, **{field: "ADMIN"})) == {field}
    assert wrong_fields(await ask(person, "ada")) == {"email"}


async def test_it_takes_a_person(api: Api, desk: Desk, new: str) -> None:
    body: Any = {"email": new, "password": PASSWORD}
    refused(await api.http.post("/auth/email/change", json=body), 401, "missing_credential")
    secret = {"X-Org-Secret": desk.secret}
    refused(await api.http.post("/auth/email/change", json=body, headers=secret), 403, "person_required")


async def test_nothing_of_it_is_logged(api: Api, desk: Desk, person: Person, new: str) -> None:
    with capture_logs() as lines:
        await ask(person, new)
        token = await token_for(desk, person.id, Purpose.CHANGE_EMAIL)
        await click(api, desk, person)
    assert {line.get("route") for line in lines} >= {"/auth/email/change", "/auth/email/verify"}
    for text in (token, new, PASSWORD):
        assert text not in repr(lines)

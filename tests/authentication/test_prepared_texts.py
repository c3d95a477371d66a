"""E-mail addresses and passwords in forms that look the same (RFC 8265)."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, update

from app import wiring
from app.accounts.users.models import Credential, User
from app.core.outbox import relay
from app.notifications.models import Mail
from tests.accounts.users_and_roles import ok
from tests.organisation_client import JSON, PASSWORD, Desk, SignedInUser
from tests.passwords import cheap_hash
from tests.problems import assert_problem, read_invalid_fields
from tests.services import create_user, unique_email

_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def widen(email: str) -> str:
    """Write the local part in full-width characters."""
    local, _, domain = email.partition("@")
    return f"{local.translate(_WIDE)}@{domain}"


async def sign_up(desk: Desk, email: str, password: str = PASSWORD) -> httpx.Response:
    body = {"org": desk.domain, "firstName": "Mia", "email": email, "password": password}
    return await desk.api.http.post("/auth/signup", json=body)


async def sign_in(desk: Desk, email: str, password: str = PASSWORD) -> httpx.Response:
    body = {"org": desk.domain, "email": email, "password": password}
    return await desk.api.http.post("/auth/signin", json=body)


async def set_stored(desk: Desk, user: SignedInUser, **values: Any) -> None:
    """Change an account as an earlier version would have stored it."""
    async with desk.database.session(desk.id) as db:
        of_user = (Credential.org_id == desk.id, Credential.user_id == user.id)
        await db.execute(update(Credential).where(*of_user).values(values))
        if "email" in values:
            await db.execute(update(User).where(User.org_id == desk.id, User.id == user.id).values(values))


async def read_mail_to_assignee(desk: Desk, ticket: JSON) -> str:
    """Return the text of the mail about a new ticket, without marks of direction."""
    await relay.relay_new_events(desk.database, wiring.SUBSCRIBERS)
    async with desk.database.session(desk.id) as db:
        query = select(Mail.body_text).where(Mail.org_id == desk.id, Mail.ticket_id == UUID(ticket["id"]))
        return re.sub("[\u2068\u2069]", "", (await db.scalars(query)).one() or "")


class TestAddresses:
    async def test_a_full_width_address_is_the_usual_one_wherever_it_enters(self, desk: Desk) -> None:
        email = unique_email()
        assert (await sign_up(desk, widen(email).upper())).json()["email"] == email
        assert ok(await sign_in(desk, email))["user"]["email"] == email
        assert ok(await sign_in(desk, widen(email)))["user"]["email"] == email
        invited = {"email": widen(desk.admin.email), "firstName": "Mia", "role": "ENGINEER"}
        assert_problem(await desk.admin.post("/users", invited), 409, "email_taken")
        change = {"email": widen(desk.admin.email), "password": PASSWORD}
        assert_problem(await desk.admin.post("/auth/email/change", change), 422, "same_email")
        forgotten = {"email": widen(email), "org": desk.domain}
        assert (await desk.api.http.post("/auth/password/forgot", json=forgotten)).status_code == 202

    async def test_a_full_width_address_is_the_same_requester(self, desk: Desk) -> None:
        email = f"mike{uuid4().hex}@customer.test"
        first, second = [await desk.open(requester={"email": one}) for one in (email, widen(email))]
        assert first["requester"] == second["requester"]
        assert second["requester"]["email"] == email
        for parameters in (
            {"requester": widen(email)}, {"requester": email.replace("@", "\uff20")}, {"customerEmail": widen(email)},
        ):  # fmt: skip
            assert len(ok(await desk.admin.get("/tickets", params=parameters))["items"]) == 2
        assert len(ok(await desk.admin.get("/requesters", params={"email": widen(email)}))["items"]) == 1
        ok(await desk.admin.get("/tickets", params={"assignee": desk.admin.email.replace("@", "\uff20")}))

    @pytest.mark.parametrize("local", ["m\u0131ke", "mik\u0435", "\ufb01le", "\U0001f600"])
    async def test_an_account_has_no_address_that_looks_like_another(self, desk: Desk, local: str) -> None:
        email = f"{local}@growfin.test"
        assert read_invalid_fields(await sign_up(desk, email)) == {"email"}
        invited = {"email": email, "firstName": "Mia", "role": "ENGINEER"}
        assert read_invalid_fields(await desk.admin.post("/users", invited)) == {"email"}
        change = {"email": email, "password": PASSWORD}
        assert read_invalid_fields(await desk.admin.post("/auth/email/change", change)) == {"email"}

    @pytest.mark.parametrize("domain", ["gm\u0430il.com", "shop.gr\u03bfwfin.com", "xn--gmil-63d.com"])
    async def test_the_domain_of_an_address_has_one_script_in_each_label(self, desk: Desk, domain: str) -> None:
        assert read_invalid_fields(await sign_up(desk, f"mike@{domain}")) == {"email"}
        ticket = {"title": "It broke", "description": "All.", "requester": {"email": f"mike@{domain}"}}
        assert read_invalid_fields(await desk.admin.post("/tickets", ticket)) == {"requester.email"}

    @pytest.mark.parametrize("domain", ["пример.рф", "bücher.example", "пример.com", "東京abc.jp"])
    async def test_the_domain_of_an_address_may_have_any_script(self, desk: Desk, domain: str) -> None:
        email = f"mike@{domain}"
        assert (await sign_up(desk, email)).json()["email"] == email
        ticket = await desk.open(requester={"email": email})
        assert f"Requester: {email}\n" in await read_mail_to_assignee(desk, ticket)

    async def test_a_mail_tells_a_domain_apart_that_looks_like_another(self, desk: Desk) -> None:
        email = "mike@\u0441\u0430\u0440\u0430.com"
        ticket = await desk.open(requester={"email": email})
        assert f"Requester: {email} (with Cyrillic small letter es, " in await read_mail_to_assignee(desk, ticket)

    @pytest.mark.parametrize("local", ["\ufb01le", "\U0001f600", "mi\u00adke"])
    async def test_a_requester_has_no_address_with_odd_characters(self, desk: Desk, local: str) -> None:
        ticket = {"title": "It broke", "description": "All.", "requester": {"email": f"{local}@customer.example"}}
        assert read_invalid_fields(await desk.admin.post("/tickets", ticket)) == {"requester.email"}

    @pytest.mark.parametrize("local", ["иванов", "иван.petrov", "ivan-петров"])
    async def test_a_requester_may_have_an_address_in_any_script(self, desk: Desk, local: str) -> None:
        email = f"{local}@customer.example"
        ticket = await desk.open(requester={"email": email})
        assert ticket["requester"]["email"] == email
        assert f"Requester: {email}\n" in await read_mail_to_assignee(desk, ticket)

    @pytest.mark.parametrize(
        ("local", "letters"),
        [
            ("\u0441\u0430\u0440\u0430", "Cyrillic small letter es, Cyrillic small letter a, Cyrillic small letter er"),
            ("m\u0131ke", "Latin small letter dotless i"),
            ("mik\u0435", "Cyrillic small letter ie"),
        ],
    )
    async def test_a_mail_tells_a_requester_apart_who_looks_like_another(
        self, desk: Desk, local: str, letters: str
    ) -> None:
        email = f"{local}@customer.example"
        ticket = await desk.open(requester={"email": email})
        assert ticket["requester"]["email"] == email
        assert f"Requester: {email} (with {letters})\n" in await read_mail_to_assignee(desk, ticket)

    async def test_an_account_from_before_still_signs_in(self, desk: Desk) -> None:
        user = await create_user(desk)
        email = f"m\u0131ke{uuid4().hex}@growfin.test"
        await set_stored(desk, user, email=email)
        assert ok(await sign_in(desk, email))["user"]["email"] == email
        assert ok(await desk.admin.get("/tickets", params={"requester": email}))["items"] == []


class TestPasswords:
    @pytest.mark.parametrize(
        ("chosen", "typed"),
        [
            ("heron\u00a0lamp\u3000desk", "heron lamp desk"),
            ("heron lamp desk", "heron\u2009lamp\u202fdesk"),
            ("Zoe\u0308 und A\u030asa", "Zoë und Åsa"),
            ("Ωmega lamp desk", "\u2126mega lamp desk"),  # the sign for ohm
        ],
    )
    async def test_forms_of_a_password_are_the_same(self, desk: Desk, chosen: str, typed: str) -> None:
        email = unique_email()
        assert (await sign_up(desk, email, chosen)).status_code == 201
        for password in (chosen, typed):
            ok(await sign_in(desk, email, password))
        assert_problem(await sign_in(desk, email, chosen.upper()), 401, "wrong_email_or_password")

    @pytest.mark.parametrize(
        ("password", "named"),
        [
            ("heron\x07lamp desk", "U+0007 at position 6"),
            ("heron\tlamp desk", "U+0009"),
            ("heron\u0378lamp desk", "U+0378"),
            ("heron\u00adlamp desk", "U+00AD"),
            ("heron\u200blamp desk", "U+200B"),
            ("heron\u1100lamp desk", "U+1100"),  # old Hangul
        ],
    )
    async def test_characters_that_passwords_may_not_have_are_named(
        self, desk: Desk, password: str, named: str
    ) -> None:
        answer = await sign_up(desk, unique_email(), password)
        assert read_invalid_fields(answer) == {"password"}
        assert named in answer.text

    async def test_the_length_is_that_of_the_prepared_form(self, desk: Desk) -> None:
        letters = "e\u0301a\u0308o\u0302u\u0300"  # four letters
        assert read_invalid_fields(await sign_up(desk, unique_email(), f"{letters}xyz")) == {"password"}
        assert (await sign_up(desk, unique_email(), f"{letters}wxyz")).status_code == 201
        assert (await sign_up(desk, unique_email(), letters * 32)).status_code == 201
        for too_long in (letters * 32 + "x", "x" * 100_000, "\u0958" * 100_000):
            assert read_invalid_fields(await sign_up(desk, unique_email(), too_long)) == {"password"}
        assert read_invalid_fields(await sign_up(desk, unique_email(), "")) == {"password"}

    async def test_a_password_that_an_earlier_version_stored_still_works(self, desk: Desk) -> None:
        for stored in ("heron\u00a0lamp desk", "heron\u00adlamp\u0007"):
            user = await create_user(desk)
            await set_stored(desk, user, password_hash=cheap_hash(stored))
            ok(await sign_in(desk, user.email, stored))
            assert_problem(await sign_in(desk, user.email, "heron lamp desk"), 401, "wrong_email_or_password")
            new = {"currentPassword": stored, "newPassword": "amber otter\u00a058 desk"}
            assert (await user.post("/auth/password/change", new)).status_code == 204
            ok(await sign_in(desk, user.email, "amber otter 58 desk"))

"""Accept an invitation by setting a password with the mailed link."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from app.accounts.single_use_links.models import Link, LinkPurpose
from app.authentication.sessions.models import Session
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.security.opaque_tokens import make_link_token
from app.organisations.models import Organisation
from tests.accounts.invitations.test_invitations import accept, invite, latest_link_token
from tests.accounts.sign_up.test_public_sign_up import sign_in
from tests.accounts.stored_rows import list_account_events, list_links, list_users, tables_containing
from tests.core.security.hostile_tokens import hostile_tokens
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields
from tests.services import unique_email


async def test_accepting_activates_the_account_and_verifies_the_address(desk: Desk) -> None:
    created = await invite(desk)
    answer = await accept(desk, await latest_link_token(desk))

    assert answer.status_code == 200, answer.text
    user = answer.json()
    del created["invitationExpiresAt"]
    assert user == created | {"status": "ACTIVE", "available": True, "emailVerified": True}
    signed_in = await sign_in(desk, created["email"], path="/auth/engineer/signin")
    assert (signed_in.status_code, signed_in.json()["user"]["id"]) == (200, created["id"])
    assert await list_links(desk) == []
    assert (await list_account_events(desk))[2:5] == [
        (f"user.{verb}", {"userId": created["id"]}) for verb in ("joined", "email_verified", "became_available")
    ]


async def test_accepting_does_not_sign_in(desk: Desk) -> None:
    created = await invite(desk)
    answer = await accept(desk, await latest_link_token(desk))
    assert not {"jwt", "accessToken", "refreshToken"} & answer.json().keys()
    async with desk.database.session(desk.id) as db:
        conditions = (Session.org_id == desk.id, Session.user_id == UUID(created["id"]))
        assert await db.scalar(select(func.count()).select_from(Session).where(*conditions)) == 0


async def test_waiting_tickets_are_assigned_to_a_user_who_accepts(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    created = await invite(desk)
    ticket = await desk.open()
    assert ticket["adminId"] is None
    await accept(desk, await latest_link_token(desk))
    assert (await desk.read(ticket))["adminId"] == created["id"]


async def test_a_customer_who_accepts_is_not_available(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    await invite(desk, role="CUSTOMER")
    ticket = await desk.open()
    user = (await accept(desk, await latest_link_token(desk))).json()
    assert (user["status"], user["available"]) == ("ACTIVE", False)
    assert (await desk.read(ticket))["adminId"] is None
    assert "user.became_available" not in [kind for kind, _ in await list_account_events(desk)]


async def test_a_token_works_once(desk: Desk) -> None:
    created = await invite(desk)
    token = await latest_link_token(desk)
    assert (await accept(desk, token)).status_code == 200
    assert read_invalid_fields(await accept(desk, token, "amber-otter-58-desk"), "link_expired") == {"token"}
    assert (await sign_in(desk, created["email"])).status_code == 200
    assert_problem(await sign_in(desk, created["email"], "amber-otter-58-desk"), 401, "wrong_email_or_password")


@pytest.mark.parametrize(("password", "code"), [("password1", "weak_password"), ("growfin1", "weak_password"),
                                                ("seven77", "invalid_input"), (None, "invalid_input")])  # fmt: skip
async def test_a_refused_password_does_not_use_up_the_link(desk: Desk, password: Any, code: str) -> None:
    created = await invite(desk)
    token = await latest_link_token(desk)
    assert read_invalid_fields(await accept(desk, token, password), code) == {"password"}
    assert (await list_users(desk, created["email"]))[0].status == "INVITED"
    assert (await accept(desk, token)).status_code == 200


async def test_a_password_like_the_users_own_name_is_refused(desk: Desk) -> None:
    created = await invite(desk, firstName="Wilhelmina")
    token = await latest_link_token(desk)
    for password in ("Wilhelmina1", created["email"]):
        assert read_invalid_fields(await accept(desk, token, password), "weak_password") == {"password"}


async def test_an_expired_link_is_refused(desk: Desk) -> None:
    await invite(desk)
    async with desk.database.session(desk.id) as db:
        await db.execute(update(Link).where(Link.org_id == desk.id).values(expires_at=real_now()))
    assert_problem(await accept(desk, await latest_link_token(desk)), 422, "link_expired")


@pytest.mark.parametrize("purpose", [purpose for purpose in LinkPurpose if purpose != LinkPurpose.INVITATION])
async def test_a_link_for_another_purpose_is_refused(desk: Desk, purpose: LinkPurpose) -> None:
    created = await invite(desk)
    async with desk.database.session(desk.id) as db:
        await db.execute(update(Link).where(Link.org_id == desk.id).values(purpose=purpose))
    assert_problem(await accept(desk, await latest_link_token(desk)), 422, "link_expired")
    assert len(await list_links(desk)) == 1
    assert (await list_users(desk, created["email"]))[0].status == "INVITED"


async def test_a_forged_token_or_one_of_another_organisation_is_refused(
    api: Api, database: Database, desk: Desk
) -> None:
    await invite(desk)
    (link,) = await list_links(desk)
    other = await create_desk(api, database)
    for token in (
        make_link_token(desk.api.secret_key, other.id, link.id),
        make_link_token("another-key-than-this-service-has-0123456789", desk.id, link.id),
        make_link_token(desk.api.secret_key, desk.id, uuid4()),
        str(link.id),
    ):
        assert_problem(await accept(desk, token), 422, "link_expired")
    assert (await accept(desk, await latest_link_token(desk))).status_code == 200


async def test_hostile_tokens_are_refused(desk: Desk) -> None:
    for token in hostile_tokens():
        answer = await accept(desk, token)
        assert answer.status_code == 422, (token, answer.text)
        assert answer.json()["code"] in {"link_expired", "invalid_input"}


@pytest.mark.parametrize("field", ["role", "status", "orgId", "roleId", "email", "available"])
async def test_other_fields_cannot_be_set_when_accepting(desk: Desk, field: str) -> None:
    await invite(desk)
    body = {"token": await latest_link_token(desk), "password": PASSWORD, field: "ADMIN"}
    assert read_invalid_fields(await desk.api.http.post("/auth/invitation/accept", json=body)) == {field}


async def test_an_invitation_to_a_suspended_organisation_cannot_be_accepted(desk: Desk) -> None:
    await invite(desk)
    async with desk.database.session(desk.id) as db:
        await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
    assert_problem(await accept(desk, await latest_link_token(desk)), 422, "link_expired")


async def test_one_of_several_concurrent_acceptances_wins(desk: Desk) -> None:
    created = await invite(desk)
    token = await latest_link_token(desk)
    passwords = [f"cobalt-heron-{number}-lamp" for number in range(4)]

    answers = await asyncio.gather(*(accept(desk, token, password) for password in passwords))

    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200, 422, 422, 422]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 422} == {"link_expired"}
    signed_in = [(await sign_in(desk, created["email"], password)).status_code for password in passwords]
    assert signed_in == [200 if status == 200 else 401 for status in statuses]
    assert [kind for kind, _ in await list_account_events(desk)].count("user.joined") == 1


async def test_passwords_and_tokens_are_not_stored(desk: Desk, server: TestServer) -> None:
    created = await invite(desk)
    token, password = await latest_link_token(desk), f"heron {unique_email()} lamp"
    assert await tables_containing(server, token[4:60]) == set()  # without its prefix and its end
    assert (await accept(desk, token, password)).status_code == 200
    assert await tables_containing(server, password) == set()
    assert "credentials" in await tables_containing(server, created["email"])  # the search works

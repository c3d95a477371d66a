"""Listing, ending and verifying sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, update

from app.accounts.users.models import User as UserRow
from app.authentication.sessions.models import Session
from app.authentication.sessions.queries import find_principal
from app.core.database.pool import Database
from tests.core.security.hostile_tokens import hostile_tokens
from tests.organisation_client import JSON, PASSWORD, Api, Desk, create_desk
from tests.problems import assert_problem
from tests.services import Start, create_user, unique_email


async def sign_in(http: httpx.AsyncClient, email: str, **headers: str) -> JSON:
    answer = await http.post("/auth/signin", json={"email": email, "password": PASSWORD}, headers=headers)
    assert answer.status_code == 200, answer.text
    signed_in: JSON = answer.json()
    return signed_in


def bearer(signed_in: JSON) -> dict[str, str]:
    return {"Authorization": f"Bearer {signed_in['jwt']}"}


async def has_ended(api: Api, signed_in: JSON) -> bool:
    """Return whether a session has ended, so that neither of its tokens works."""
    status = (await api.http.get("/me", headers=bearer(signed_in))).status_code
    refreshed = await api.http.post("/auth/refresh", json={"refreshToken": signed_in["refreshToken"]})
    assert (status == 200) == (refreshed.status_code == 200), (status, refreshed.text)
    return status == 401


@pytest.fixture
async def email(desk: Desk) -> str:
    email = unique_email()
    await create_user(desk, email)
    return email


async def test_signing_out_ends_this_session_only(api: Api, email: str) -> None:
    one, other = await sign_in(api.http, email), await sign_in(api.http, email)
    assert (await api.http.post("/auth/signout", headers=bearer(one))).status_code == 204
    assert await has_ended(api, one)
    assert not await has_ended(api, other)
    assert_problem(await api.http.post("/auth/signout", headers=bearer(one)), 401, "invalid_token")


async def test_a_demotion_ends_all_sessions_of_the_user_and_a_promotion_none(api: Api, desk: Desk) -> None:
    user = await create_user(desk, email := unique_email())
    sessions = [await sign_in(api.http, email) for _ in range(2)]

    demoted = await desk.admin.patch(f"/users/{user.id}", {"role": "ENGINEER"})

    assert demoted.status_code == 200, demoted.text
    assert [await has_ended(api, one) for one in sessions] == [True, True]
    again = await sign_in(api.http, email)
    assert (await desk.admin.patch(f"/users/{user.id}", {"role": "ADMIN"})).status_code == 200
    assert not await has_ended(api, again)


async def test_signing_out_everywhere_ends_all_sessions_of_the_user(api: Api, desk: Desk, email: str) -> None:
    mine = [await sign_in(api.http, email) for _ in range(3)]
    assert (await api.http.post("/auth/signout-all", headers=bearer(mine[0]))).status_code == 204
    for one in mine:
        assert await has_ended(api, one)
    assert (await desk.admin.get("/me")).status_code == 200


async def test_sessions_are_listed_with_device_address_and_times(start: Start, email: str) -> None:
    service = await start()
    phone, laptop = service.at("198.51.100.7"), service.at("2001:db8::7")
    await sign_in(phone, email, **{"User-Agent": "Phone " + "x" * 300})
    here = await sign_in(laptop, email, **{"User-Agent": "Laptop"})

    items = (await laptop.get("/me/sessions", headers=bearer(here))).json()["items"]

    on_laptop, on_phone, *_ = items  # the session that the fixture opened follows
    assert (on_laptop["device"], on_laptop["address"], on_laptop["current"]) == ("Laptop", "2001:db8::7", True)
    assert (on_phone["device"], on_phone["address"], on_phone["current"]) == (
        "Phone " + "x" * 194,
        "198.51.100.7",
        False,
    )
    assert on_laptop.keys() == {
        "id", "device", "address", "current", "rememberMe", "createdAt", "lastUsedAt", "expiresAt",
    }  # fmt: skip
    refreshed = await phone.post("/auth/refresh", json={"refreshToken": here["refreshToken"]})
    after = (await laptop.get("/me/sessions", headers={"Authorization": f"Bearer {refreshed.json()['jwt']}"})).json()
    assert after["items"][0]["address"] == "198.51.100.7"
    assert after["items"][0]["lastUsedAt"] > on_laptop["lastUsedAt"]


async def test_the_listed_address_cannot_be_spoofed(start: Start, email: str) -> None:
    spoofed = {"X-Forwarded-For": "203.0.113.99", "Forwarded": "for=203.0.113.99", "X-Real-IP": "203.0.113.99"}
    http = (await start()).at("198.51.100.7")
    here = await sign_in(http, email, **spoofed)
    items = (await http.get("/me/sessions", headers=bearer(here))).json()["items"]
    assert items[0]["address"] == "198.51.100.7"


async def test_a_page_starts_where_the_previous_one_ended(api: Api, email: str) -> None:
    signed_in = [await sign_in(api.http, email) for _ in range(4)]
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await api.http.get("/me/sessions", headers=bearer(signed_in[0]), params=params)).json()
        seen += [one["id"] for one in page["items"]]
        if not (cursor := page["nextCursor"]):
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen) == 5


async def test_the_total_is_included_only_if_asked_for(api: Api, desk: Desk, email: str) -> None:
    mine = [await sign_in(api.http, email) for _ in range(2)]
    assert (await desk.admin.get("/me/sessions")).json().keys() == {"items", "nextCursor"}
    params = {"include": "total", "limit": "1"}
    page = (await api.http.get("/me/sessions", headers=bearer(mine[0]), params=params)).json()
    assert (len(page["items"]), page["total"]) == (1, 3)


async def test_a_session_can_be_ended_from_another(api: Api, email: str) -> None:
    one, other = await sign_in(api.http, email), await sign_in(api.http, email)
    items = (await api.http.get("/me/sessions", headers=bearer(one))).json()["items"]
    (session_id,) = [item["id"] for item in items if item["current"]]
    path = f"/me/sessions/{session_id}"
    assert (await api.http.delete(path, headers=bearer(other))).status_code == 204
    assert await has_ended(api, one)
    assert_problem(await api.http.delete(path, headers=bearer(other)), 404, "session_not_found")


async def test_sessions_of_other_users_can_be_neither_seen_nor_ended(
    api: Api, database: Database, desk: Desk, email: str
) -> None:
    mine = await sign_in(api.http, email)
    (my_id,) = [
        i["id"] for i in (await api.http.get("/me/sessions", headers=bearer(mine))).json()["items"] if i["current"]
    ]
    stranger = await create_desk(api, database)
    for other in (desk.admin, stranger.admin):
        assert_problem(await other.delete(f"/me/sessions/{my_id}"), 404, "session_not_found")
        assert my_id not in (await other.get("/me/sessions")).text
    assert_problem(await desk.admin.delete(f"/me/sessions/{uuid4()}"), 404, "session_not_found")
    assert not await has_ended(api, mine)


class TestVerify:
    async def test_a_valid_token_is_active_with_its_claims(self, api: Api, desk: Desk, email: str) -> None:
        signed_in = await sign_in(api.http, email)
        answer = await api.http.post("/auth/verify", json={"token": signed_in["jwt"]})
        assert answer.status_code == 200
        body = answer.json()
        assert body.keys() == {
            "active", "tokenType", "sub", "org", "sid", "role", "email", "permissions", "iss", "aud", "iat", "exp",
            "jti", "secondFactorRequired",
        }  # fmt: skip
        assert body["secondFactorRequired"] is False
        assert (body["active"], body["sub"], body["org"]) == (True, signed_in["user"]["id"], str(desk.id))
        assert (body["role"], body["email"], body["exp"] - body["iat"]) == ("ADMIN", email, 1800)
        assert "tickets:view" in body["permissions"]

    async def test_the_current_role_is_returned(self, api: Api, desk: Desk, email: str) -> None:
        signed_in = await sign_in(api.http, email)
        async with desk.database.session(desk.id) as db:
            conditions = (UserRow.org_id == desk.id, UserRow.email == email)
            await db.execute(update(UserRow).where(*conditions).values(role_kind="CUSTOMER"))
        body = (await api.http.post("/auth/verify", json={"token": signed_in["jwt"]})).json()
        assert body["role"] == "CUSTOMER"
        assert "users:view" not in body["permissions"]

    async def test_a_token_of_an_ended_session_is_inactive(self, api: Api, email: str) -> None:
        signed_in = await sign_in(api.http, email)
        await api.http.post("/auth/signout", headers=bearer(signed_in))
        answer = await api.http.post("/auth/verify", json={"token": signed_in["jwt"]})
        assert (answer.status_code, answer.json()) == (200, {"active": False})

    async def test_tokens_of_other_kinds_are_inactive(self, api: Api, desk: Desk, email: str) -> None:
        signed_in = await sign_in(api.http, email)
        others = [signed_in["refreshToken"], desk.secret, *hostile_tokens().values()]
        for token in others:
            if 0 < len(token) <= 4096 and "\0" not in token:
                answer = await api.http.post("/auth/verify", json={"token": token})
                assert (answer.status_code, answer.json()) == (200, {"active": False})


async def test_the_statements_with_and_without_the_orm_agree_on_when_a_session_ends(desk: Desk) -> None:
    session_id = desk.admin.session_id
    async with desk.database.session(desk.id) as db:
        expires_at = await db.scalar(
            select(Session.expires_at).where(Session.org_id == desk.id, Session.id == session_id)
        )
    assert expires_at is not None
    for since_end, is_found in ((-1, True), (0, False), (1, False)):
        now = expires_at + since_end * datetime.resolution
        async with desk.database.session(desk.id) as db:
            conditions = (Session.org_id == desk.id, Session.id == session_id, Session.not_expired_condition(now))
            by_orm = await db.scalar(select(Session.id).where(*conditions))
        async with desk.database.driver(desk.id) as driver:
            by_driver = await find_principal(driver, desk.id, desk.admin.id, session_id, now)
        assert (by_orm is not None, by_driver is not None) == (is_found, is_found)

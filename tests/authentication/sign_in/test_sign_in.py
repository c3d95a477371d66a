"""Signing in."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, update

from app.accounts.users.models import Credential, User
from app.authentication.sign_in.errors import AccountSuspended, WrongEmailOrPassword
from app.core.database.pool import Database
from app.core.security import password_hashing
from app.core.security.access_tokens import read_access_token
from app.core.security.password_hashing import MAX_RUNNING_HASHES, MAX_WAITING_HASHES
from app.organisations.models import Organisation
from tests.conftest import SECRET_KEY
from tests.core.security.test_password_hashing import BlockingWork
from tests.organisation_client import PASSWORD, Api, Desk, create_admin, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import account_of, change_password, create_user, finish_sign_in, unique_email


async def sign_in(api: Api, email: str, password: object = PASSWORD, **fields: object) -> httpx.Response:
    return await api.http.post("/auth/admin/signin", json={"email": email, "password": password, **fields})


async def test_a_sign_in_returns_a_valid_token(api: Api, desk: Desk) -> None:
    email = unique_email()
    user = await create_admin(desk, email)
    answer = await sign_in(api, email.upper())

    assert answer.status_code == 200
    signed_in = answer.json()
    assert signed_in.keys() >= {"jwt", "accessToken", "tokenType", "expiresIn", "user", "refreshToken"}
    assert (signed_in["designation"], signed_in["sessionTimeInMinutes"]) == ("Admin", 1440)
    assert signed_in["jwt"] == signed_in["accessToken"]
    assert (signed_in["tokenType"], signed_in["expiresIn"]) == ("Bearer", 1800)
    assert (signed_in["user"]["id"], signed_in["user"]["email"]) == (str(user.id), email)
    claims = read_access_token(SECRET_KEY, signed_in["jwt"])
    assert (claims.user_id, claims.org_id) == (user.id, desk.id)
    assert abs(claims.expires_at - time.time() - 1800) < 30
    me = await api.http.get("/me", headers={"Authorization": f"Bearer {signed_in['jwt']}"})
    assert me.json().items() >= signed_in["user"].items()


async def test_users_of_many_organisations_can_have_the_same_email(api: Api, desk: Desk) -> None:
    email, secrets = unique_email(), [desk.secret, *[(await create_desk(api, desk.database)).secret for _ in range(5)]]
    for index, secret in enumerate(secrets):
        body = {"firstName": "Ada", "lastName": "L", "email": email, "password": f"{PASSWORD}-{index}"}
        answer = await api.http.post("/auth/admin/signup", json=body, headers={"X-Org-Secret": secret})
        assert answer.status_code == 201
    for index in range(len(secrets)):
        assert (await sign_in(api, email, f"{PASSWORD}-{index}")).status_code == 200
    assert_problem(await sign_in(api, email, f"{PASSWORD}-x"), 401, "wrong_email_or_password")
    async with desk.database.session(None) as db:
        hashes = (await db.scalars(select(Credential.password_hash).where(Credential.email == email))).all()
    # They share a salt, so one computation compares a password with all of them.
    assert len({str(hashed).rpartition("$")[0] for hashed in hashes}) == 1 < len(set(hashes))


async def test_a_wrong_email_and_a_wrong_password_get_the_same_response(api: Api, desk: Desk) -> None:
    email = unique_email()
    await create_admin(desk, email)
    answers = [
        await sign_in(api, email, "cobalt-heron-47-lamq"),
        await sign_in(api, unique_email()),
        await sign_in(api, email, org=f"d{uuid4().hex}.test"),
    ]
    documents = [assert_problem(answer, 401, "wrong_email_or_password") for answer in answers]
    for document, answer in zip(documents, answers, strict=True):
        assert document.pop("requestId") in answer.headers.pop("x-request-id")
        assert document == documents[0]
        # What is left of the address's own limit differs from request to request.
        assert answer.headers.pop("ratelimit").startswith('"failures";r=9;')
        assert answer.headers == answers[0].headers


async def test_a_wrong_email_and_a_wrong_password_take_the_same_time(api: Api, desk: Desk) -> None:
    email = unique_email()
    await create_admin(desk, email)

    async def measure_sign_in(email: str, password: str) -> float:
        started_at = time.perf_counter()
        assert_problem(await sign_in(api, email, password), 401, "wrong_email_or_password")
        return time.perf_counter() - started_at

    # The fastest of three: other work of the machine can only slow one down.
    known, unknown = [], []
    for _ in range(3):
        known.append(await measure_sign_in(email, "cobalt-heron-47-lamq"))
        unknown.append(await measure_sign_in(unique_email(), "cobalt-heron-47-lamq"))
    assert 0.5 < min(known) / min(unknown) < 2


class TestTwoOrganisations:
    async def test_the_matching_password_selects_the_organisation(
        self, api: Api, database: Database, desk: Desk
    ) -> None:
        email, other = unique_email(), await create_desk(api, database)
        await create_user(desk, email)
        await create_user(other, email, "another-heron-48-lamp")
        assert (await sign_in(api, email)).json()["user"]["orgId"] == str(desk.id)
        assert (await sign_in(api, email, "another-heron-48-lamp")).json()["user"]["orgId"] == str(other.id)

    async def test_two_matching_passwords_require_the_organisation(
        self, api: Api, database: Database, desk: Desk
    ) -> None:
        email, other = unique_email(), await create_desk(api, database)
        await create_user(desk, email)
        await create_user(other, email)
        assert_problem(await sign_in(api, email), 409, "org_required")
        assert_problem(await sign_in(api, email, "cobalt-heron-47-lamq"), 401, "wrong_email_or_password")
        for one in (desk, other):
            answer = await sign_in(api, email, org=one.domain.upper())
            assert (answer.status_code, answer.json()["user"]["orgId"]) == (200, str(one.id))

    async def test_a_suspended_organisation_is_ignored(self, api: Api, database: Database, desk: Desk) -> None:
        email, other = unique_email(), await create_desk(api, database)
        await create_user(desk, email)
        await create_user(other, email)
        async with database.session(other.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == other.id).values(status="SUSPENDED"))
        assert (await sign_in(api, email)).json()["user"]["orgId"] == str(desk.id)
        assert_problem(await sign_in(api, email, org=other.domain), 401, "wrong_email_or_password")


async def test_a_suspended_user_cannot_sign_in(api: Api, desk: Desk) -> None:
    email = unique_email()
    user = await create_user(desk, email)
    async with desk.database.session(desk.id) as db:
        conditions = (User.org_id == desk.id, User.id == user.id)
        await db.execute(update(User).where(*conditions).values(status="SUSPENDED"))
    assert_problem(await sign_in(api, email), 403, "account_suspended")
    assert_problem(await sign_in(api, email, "not-it-at-all"), 401, "wrong_email_or_password")


@pytest.mark.parametrize("status", ["PENDING", "REJECTED", "SUSPENDED"])
async def test_an_inactive_user_gets_the_reason_with_the_right_password_only(api: Api, desk: Desk, status: str) -> None:
    email = unique_email()
    user = await create_user(desk, email)
    async with desk.database.session(desk.id) as db:
        conditions = (User.org_id == desk.id, User.id == user.id)
        await db.execute(update(User).where(*conditions).values(status=status))
    assert_problem(await sign_in(api, email, "not-it-at-all"), 401, "wrong_email_or_password")
    document = assert_problem(await sign_in(api, email), 403, f"account_{status.lower()}")
    assert "admin" in document["detail"]  # who can help the user


@pytest.mark.parametrize("role", ["ADMIN", "ENGINEER", "CUSTOMER"])
async def test_each_role_has_its_own_sign_in_besides_the_common_one(api: Api, desk: Desk, role: str) -> None:
    email = unique_email()
    user = await create_user(desk, email)
    async with desk.database.session(desk.id) as db:
        conditions = (User.org_id == desk.id, User.id == user.id)
        await db.execute(update(User).where(*conditions).values(role_kind=role))
    body = {"email": email, "password": PASSWORD}
    assert (await api.http.post("/auth/signin", json=body)).json()["user"]["role"] == role
    for role_kind in ("admin", "engineer", "customer"):
        answer = await api.http.post(f"/auth/{role_kind}/signin", json=body)
        if role_kind == role.lower():
            assert answer.status_code == 200
        else:
            assert_problem(answer, 403, "wrong_role")
        wrong = await api.http.post(f"/auth/{role_kind}/signin", json=body | {"password": "not-it-at-all"})
        assert_problem(wrong, 401, "wrong_email_or_password")


async def test_the_sign_in_of_a_role_selects_the_account_with_that_role(api: Api, desk: Desk) -> None:
    email, other = unique_email(), await create_desk(api, desk.database)
    await create_user(desk, email)
    engineer = await create_user(other, email)
    async with desk.database.session(other.id) as db:
        conditions = (User.org_id == other.id, User.id == engineer.id)
        await db.execute(update(User).where(*conditions).values(role_kind="ENGINEER"))
    body = {"email": email, "password": PASSWORD}
    assert_problem(await api.http.post("/auth/signin", json=body), 409, "org_required")
    answer = await api.http.post("/auth/engineer/signin", json=body)
    assert answer.json()["user"]["id"] == str(engineer.id)


async def test_a_password_matches_in_any_normal_form(api: Api, desk: Desk) -> None:
    email = unique_email()
    await create_user(desk, email, "Zoë-heron-47-lamp")
    assert (await sign_in(api, email, "Zoe\u0308-heron-47-lamp")).status_code == 200


@pytest.mark.parametrize("password", ["", "x" * 1025, "x" * 4097, None, 5, [PASSWORD], {}])
async def test_an_invalid_password_field_is_reported(api: Api, password: object) -> None:
    assert read_invalid_fields(await sign_in(api, unique_email(), password)) == {"password"}


@pytest.mark.parametrize("password", ["nul\0inside", "x" * 1024])
async def test_unusual_passwords_are_compared(api: Api, password: str) -> None:
    assert_problem(await sign_in(api, unique_email(), password), 401, "wrong_email_or_password")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"email": "ada"}, "email"),
        ({"email": None}, "email"),
        ({"email": "ada\0@growfin.test"}, "email"),
        ({"org": "not a domain"}, "org"),
        ({"org": 5}, "org"),
        ({"secret": "tsk_x"}, "secret"),
        ({"rememberMe": 1}, "rememberMe"),
    ],
)
async def test_an_invalid_field_is_reported(api: Api, fields: dict[str, object], wrong: str) -> None:
    body = {"email": unique_email(), "password": PASSWORD} | fields
    assert read_invalid_fields(await api.http.post("/auth/admin/signin", json=body)) == {wrong}


async def test_a_sign_in_does_not_change_the_credential(api: Api, desk: Desk) -> None:
    email = unique_email()
    user = await create_user(desk, email)

    async def row() -> tuple[object, ...]:
        async with desk.database.session(desk.id) as db:
            conditions = (Credential.org_id == desk.id, Credential.user_id == user.id)
            return tuple((await db.execute(select(Credential.__table__).where(*conditions))).one())

    before = await row()
    assert (await sign_in(api, email)).status_code == 200
    assert await row() == before


async def test_a_sign_in_is_refused_while_too_many_are_waiting(api: Api, desk: Desk) -> None:
    gate = BlockingWork()
    tasks = [
        asyncio.create_task(password_hashing._threads.run(gate.work))
        for _ in range(MAX_RUNNING_HASHES + MAX_WAITING_HASHES)
    ]
    try:
        assert await asyncio.to_thread(gate.is_full.wait, 5)
        async with asyncio.timeout(5):
            assert_problem(await sign_in(api, unique_email()), 503, "busy")
            assert (await desk.admin.get("/me")).status_code == 200, "other requests do not wait"
    finally:
        gate.opened.set()
        await asyncio.gather(*tasks)
    assert_problem(await sign_in(api, unique_email()), 401, "wrong_email_or_password")


async def test_a_password_changed_while_it_is_compared_opens_no_session(desk: Desk) -> None:
    email = unique_email()
    user = await create_user(desk, email)
    account = await account_of(desk, email)
    await change_password(desk, user.id, "walnut-otter-83-kite")
    with pytest.raises(WrongEmailOrPassword):
        await finish_sign_in(desk, account)


async def test_a_user_suspended_or_erased_while_the_password_is_compared_gets_no_session(desk: Desk) -> None:
    for act, refusal in (("suspend", AccountSuspended), ("erase", WrongEmailOrPassword)):
        email = unique_email()
        path = f"/users/{(await create_user(desk, email)).id}"
        account = await account_of(desk, email)
        done = await (desk.admin.patch(path, {"status": "SUSPENDED"}) if act == "suspend" else desk.admin.delete(path))
        assert done.is_success, done.text
        with pytest.raises(refusal):
            await finish_sign_in(desk, account)

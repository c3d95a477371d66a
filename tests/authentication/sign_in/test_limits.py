"""Sign-ups and sign-ins are limited, without locking users out of their accounts."""

from __future__ import annotations

import asyncio
import socket
from uuid import uuid4

import httpx
import orjson
import pytest
from sqlalchemy import update

from app.accounts.users.models import User as UserRow
from app.authentication.sign_in.service import MAX_MATCHING_ACCOUNTS
from app.core.database.pool import Database
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.problems import assert_problem
from tests.services import Service, Start, change_password, create_user, unique_email

WRONG = "cobalt-heron-47-lamq"
JSON_TYPE = {"Content-Type": "application/json"}
VICTIM, ATTACKER = "198.51.100.7", "203.0.113.66"


async def sign_in(http: httpx.AsyncClient, email: str, password: str = WRONG, **more: object) -> httpx.Response:
    forwarded = more.pop("forwarded", None)
    headers = {"X-Forwarded-For": str(forwarded)} if forwarded else {}
    return await http.post("/auth/admin/signin", json={"email": email, "password": password, **more}, headers=headers)


async def cheap_attempt(http: httpx.AsyncClient, forwarded: str | None = None) -> httpx.Response:
    """Sign an organisation up: an attempt that hashes no password."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    body = {"name": "Growfin", "domain": f"d{uuid4().hex}.test"}
    return await http.post("/auth/org/signup", json=body, headers=headers)


def assert_rate_limited(answer: httpx.Response, policy: str) -> None:
    """Assert that a response is a 429 that states the limit and when to retry."""
    document = assert_problem(answer, 429, "rate_limited")
    wait = answer.headers["retry-after"]
    assert document["detail"] == f"Too many attempts. Try again in {wait} s."
    window = int(policy.rpartition("w=")[2])
    assert 1 <= int(wait) <= window
    # The limit that is used up comes first.
    name = policy.partition(";")[0]
    assert f"{answer.headers['ratelimit']}, ".startswith(f"{name};r=0;t={wait}, ")
    assert f"{answer.headers['ratelimit-policy']}, ".startswith(f"{policy}, ")


class TestPerAddress:
    async def test_sign_ups_of_organisations_are_limited(self, start: Start) -> None:
        http = (await start(sign_up_limit="2/hour")).at(ATTACKER)
        assert [(await cheap_attempt(http)).status_code for _ in range(2)] == [201, 201]
        assert_rate_limited(await cheap_attempt(http), '"org-sign-up";q=2;w=3600')

    async def test_an_invalid_sign_up_of_an_organisation_does_not_count(self, start: Start) -> None:
        http = (await start(sign_up_limit="1/hour")).at(ATTACKER)
        body = {"name": "Growfin", "domain": f"d{uuid4().hex}.test"}
        for query, sent, status in (("?colour=red", body, 422), ("", body | {"domain": "?"}, 422), ("", b"{", 400)):
            content = orjson.dumps(sent) if isinstance(sent, dict) else sent
            answer = await http.post(f"/auth/org/signup{query}", content=content, headers=JSON_TYPE)
            assert answer.status_code == status
        assert (await cheap_attempt(http)).status_code == 201

    async def test_sign_ups_of_admins_are_limited(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_up_limit="1/hour")).at(ATTACKER)
        body = {"firstName": "Bo", "lastName": "Ek", "email": "bo@growfin.test", "password": "password"}
        secret = {"X-Org-Secret": desk.secret}
        assert (await http.post("/auth/admin/signup", json=body, headers=secret)).json()["code"] == "weak_password"
        assert_rate_limited(await http.post("/auth/admin/signup", json=body, headers=secret), '"sign-up";q=1;w=3600')

    async def test_sign_ins_are_limited_across_accounts(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_in_limit="2/hour")).at(ATTACKER)
        emails = [(await create_user(desk)).email for _ in range(2)]
        assert [(await sign_in(http, email)).status_code for email in emails] == [401, 401]
        assert_rate_limited(await sign_in(http, unique_email()), '"sign-in";q=2;w=3600')

    async def test_each_address_has_its_own_limit(self, start: Start) -> None:
        service = await start(sign_up_limit="1/hour")
        assert (await cheap_attempt(service.at(ATTACKER))).status_code == 201
        assert (await cheap_attempt(service.at(ATTACKER))).status_code == 429
        assert (await cheap_attempt(service.at(VICTIM))).status_code == 201

    async def test_all_addresses_of_an_ipv6_network_share_a_limit(self, start: Start) -> None:
        service = await start(sign_up_limit="1/hour")
        assert (await cheap_attempt(service.at("2001:db8:1:2::1"))).status_code == 201
        assert (await cheap_attempt(service.at("2001:db8:1:2:ffff::9"))).status_code == 429
        assert (await cheap_attempt(service.at("2001:db8:1:3::1"))).status_code == 201

    async def test_signed_in_users_are_not_limited(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_in_limit="1/hour", sign_up_limit="1/hour")).at(ATTACKER)
        await cheap_attempt(http)
        assert (await cheap_attempt(http)).status_code == 429
        assert (await http.get("/me", headers=desk.admin.headers)).status_code == 200


class TestForwardedAddresses:
    async def test_the_header_of_an_untrusted_client_is_ignored(self, start: Start) -> None:
        http = (await start(sign_up_limit="1/hour")).at(ATTACKER)
        assert (await cheap_attempt(http, "198.51.100.1")).status_code == 201
        assert (await cheap_attempt(http, "198.51.100.2")).status_code == 429

    async def test_the_header_of_a_trusted_proxy_is_used(self, start: Start) -> None:
        service = await start(sign_up_limit="1/hour", trusted_proxies="10.1.2.3/8")
        proxy = service.at("10.0.0.1")
        assert (await cheap_attempt(proxy, VICTIM)).status_code == 201
        assert (await cheap_attempt(proxy, VICTIM)).status_code == 429
        assert (await cheap_attempt(proxy, "198.51.100.8")).status_code == 201
        assert (await cheap_attempt(service.at(VICTIM))).status_code == 429, "the same client without the proxy"

    async def test_addresses_that_the_client_of_a_proxy_sent_are_ignored(self, start: Start) -> None:
        proxy = (await start(sign_up_limit="1/hour", trusted_proxies="10.0.0.0/8")).at("10.0.0.1")
        assert (await cheap_attempt(proxy, f"{VICTIM}, {ATTACKER}")).status_code == 201
        assert (await cheap_attempt(proxy, f"192.0.2.99, {ATTACKER}, 10.0.0.2")).status_code == 429
        assert (await cheap_attempt(proxy, VICTIM)).status_code == 201

    async def test_the_header_of_an_untrusted_proxy_is_ignored(self, start: Start) -> None:
        http = (await start(sign_up_limit="1/hour", trusted_proxies="10.0.0.0/8")).at("11.0.0.1")
        assert (await cheap_attempt(http, "198.51.100.1")).status_code == 201
        assert (await cheap_attempt(http, "198.51.100.2")).status_code == 429

    @pytest.mark.parametrize("forwarded", ["garbage", ",,,", "1.2.3.4:99999999", "[::1", "é", "x" * 5000])
    async def test_an_invalid_header_of_a_proxy_is_tolerated(self, start: Start, forwarded: str) -> None:
        proxy = (await start(trusted_proxies="10.0.0.0/8")).at("10.0.0.1")
        headers = [(b"X-Forwarded-For", forwarded.encode())]
        answer = await proxy.post(
            "/auth/org/signup", json={"name": "Growfin", "domain": f"d{uuid4().hex}.test"}, headers=headers
        )
        assert answer.status_code == 201


class TestFailures:
    async def test_failures_are_limited_per_account_and_address(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_in_failure_limit="2/5 minutes")).at(ATTACKER)
        email, another = [(await create_user(desk)).email for _ in range(2)]
        assert [(await sign_in(http, email)).status_code for _ in range(2)] == [401, 401]
        assert_rate_limited(await sign_in(http, email.upper()), '"failures";q=2;w=300')
        assert (await sign_in(http, another)).status_code == 401

    async def test_failures_at_an_unknown_account_count(self, start: Start) -> None:
        http, email = (await start(sign_in_failure_limit="1/5 minutes")).at(ATTACKER), unique_email()
        assert [(await sign_in(http, email)).status_code for _ in range(2)] == [401, 429]

    async def test_concurrent_failures_count(self, start: Start, desk: Desk) -> None:
        http, email = (await start(sign_in_failure_limit="2/5 minutes")).at(ATTACKER), (await create_user(desk)).email
        answers = await asyncio.gather(*(sign_in(http, email) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [401] * 2 + [429] * 6

    async def test_successes_do_not_count(self, start: Start, desk: Desk) -> None:
        http, email = (await start(sign_in_failure_limit="1/5 minutes")).at(VICTIM), unique_email()
        await create_user(desk, email)
        assert [(await sign_in(http, email, PASSWORD)).status_code for _ in range(3)] == [200] * 3

    async def test_a_success_does_not_refund_earlier_failures(self, start: Start, database: Database) -> None:
        service = await start(sign_in_failure_limit="2/5 minutes")
        http, email, own = service.at(ATTACKER), unique_email(), await create_desk(service.api, database)
        await create_user(own, email)  # a user of the attacker's own organisation has the victim's e-mail
        assert (await sign_in(http, email)).status_code == 401
        assert (await sign_in(http, email, PASSWORD)).status_code == 200
        assert (await sign_in(http, email)).status_code == 401
        assert_rate_limited(await sign_in(http, email), '"failures";q=2;w=300')

    async def test_being_asked_for_the_organisation_is_no_failure(
        self, start: Start, database: Database, desk: Desk
    ) -> None:
        service = await start(sign_in_failure_limit="1/5 minutes")
        http, email, other = service.at(VICTIM), unique_email(), await create_desk(service.api, database)
        await create_user(desk, email)
        await create_user(other, email)
        for _ in range(2):
            assert_problem(await sign_in(http, email, PASSWORD), 409, "org_required")
        assert (await sign_in(http, email, PASSWORD, org=desk.domain)).status_code == 200


class TestAttackersAccount:
    """The attacker has an account with the victim's e-mail, and sets its password to each guess."""

    @pytest.fixture
    async def own(self, api: Api, database: Database) -> Desk:
        return await create_desk(api, database)

    @pytest.mark.parametrize("path", ["/auth/signin", "/auth/admin/signin", "/auth/engineer/signin"])
    @pytest.mark.parametrize("status", ["ACTIVE", "PENDING", "SUSPENDED"])
    async def test_a_match_of_the_attackers_account_does_not_refund_a_failure_at_the_victims(
        self, start: Start, desk: Desk, own: Desk, path: str, status: str
    ) -> None:
        http, email = (await start(sign_in_failure_limit="2/5 minutes")).at(ATTACKER), unique_email()
        await create_user(desk, email)
        mine = await create_user(own, email)
        async with own.database.session(own.id) as db:
            conditions = (UserRow.org_id == own.id, UserRow.id == mine.id)
            await db.execute(update(UserRow).where(*conditions).values(status=status))
        statuses = []
        for n in range(3):
            guess = f"{PASSWORD}-{n}"
            await change_password(own, mine.id, guess)
            statuses.append((await http.post(path, json={"email": email, "password": guess})).status_code)
        assert statuses[2] == 429, statuses
        assert 429 not in statuses[:2]

    async def test_very_many_matching_accounts_require_the_organisation(
        self, start: Start, desk: Desk, own: Desk
    ) -> None:
        http, email = (await start()).at(VICTIM), unique_email()
        for _ in range(MAX_MATCHING_ACCOUNTS + 1):
            await create_user(await create_desk(desk.api, desk.database), email)
        assert_problem(await sign_in(http, email, PASSWORD), 409, "org_required")
        await create_user(own, email)
        assert (await sign_in(http, email, PASSWORD, org=own.domain)).status_code == 200


class TestAccountUnderAttack:
    """Attackers have guessed the password from many addresses, more often than `account_failure_limit`."""

    @pytest.fixture
    async def email(self, desk: Desk) -> str:
        email = unique_email()
        await create_user(desk, email)
        return email

    @pytest.fixture
    async def service(self, start: Start, email: str) -> Service:
        service = await start(account_failure_limit="2/hour", sign_in_failure_limit="4/5 minutes")
        assert (await sign_in(service.at("192.0.2.200"), email, PASSWORD)).status_code == 200, "an address of the owner"
        for stranger in ("203.0.113.1", "203.0.113.2"):
            assert (await sign_in(service.at(stranger), email)).status_code == 401
        return service

    async def test_the_owner_can_sign_in_from_any_address(self, service: Service, email: str) -> None:
        for _ in range(4):
            assert (await sign_in(service.at(VICTIM), email, PASSWORD)).status_code == 200

    async def test_an_unknown_address_has_three_attempts(self, service: Service, email: str) -> None:
        guesses = [(await sign_in(service.at(ATTACKER), email)).status_code for _ in range(4)]
        assert guesses == [401, 401, 401, 429]
        assert (await sign_in(service.at(VICTIM), email, PASSWORD)).status_code == 200

    async def test_a_known_address_has_the_usual_attempts(self, service: Service, email: str) -> None:
        guesses = [(await sign_in(service.at("192.0.2.200"), email)).status_code for _ in range(5)]
        assert guesses == [401] * 4 + [429]

    async def test_an_account_of_the_attacker_with_that_email_does_not_make_the_address_known(
        self, service: Service, database: Database, email: str
    ) -> None:
        own = await create_desk(service.api, database)
        await create_user(own, email, "another-heron-48-lamp")
        assert (await sign_in(service.at(ATTACKER), email, "another-heron-48-lamp")).status_code == 200
        assert (await sign_in(service.at(ATTACKER), email, "another-heron-48-lamp", org=own.domain)).status_code == 200
        guesses = [(await sign_in(service.at(ATTACKER), email)).status_code for _ in range(3)]
        assert guesses == [401, 401, 429], "the first attempt was the password that did not match the victim's account"


async def test_sign_ups_and_sign_ins_fail_while_the_counts_are_unreachable(start: Start, desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    http = (await start(redis_url=f"redis://127.0.0.1:{port}/0")).at(VICTIM)
    assert_problem(await cheap_attempt(http), 503, "unavailable")
    assert_problem(await sign_in(http, unique_email()), 503, "unavailable")
    assert (await http.get("/me", headers=desk.admin.headers)).status_code == 200, "other requests still work"

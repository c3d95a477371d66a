"""Signing up and in are limited, and nobody is locked out by what others try."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest
from sqlalchemy import update

from app.accounts.users.models import User as UserRow
from app.authentication.sign_in.service import MAX_MATCHING_ACCOUNTS
from app.core.database.pool import Database
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.problems import refused
from tests.services import Service, Start, change_password, create_user, unique_email

WRONG = "cobalt-heron-47-lamq"
VICTIM, ATTACKER = "198.51.100.7", "203.0.113.66"


async def sign_in(http: httpx.AsyncClient, email: str, password: str = WRONG, **more: object) -> httpx.Response:
    forwarded = more.pop("forwarded", None)
    headers = {"X-Forwarded-For": str(forwarded)} if forwarded else {}
    return await http.post("/auth/admin/signin", json={"email": email, "password": password, **more}, headers=headers)


async def cheap_attempt(http: httpx.AsyncClient, forwarded: str | None = None) -> httpx.Response:
    """An attempt to sign an organisation up, which costs no password's hash."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    return await http.post("/auth/org/signup", json={"name": "Growfin", "domain": "?"}, headers=headers)


def of_policy(answer: httpx.Response, policy: str) -> None:
    """A 429 says when to come again, and what the limit is."""
    refused(answer, 429, "rate_limited")
    wait = answer.headers["retry-after"]
    window = int(policy.rpartition("w=")[2])
    assert 1 <= int(wait) <= window
    assert answer.headers["ratelimit"] == f'"default";r=0;t={wait}'
    assert answer.headers["ratelimit-policy"] == policy


class TestPerAddress:
    async def test_signing_organisations_up(self, start: Start) -> None:
        http = (await start(sign_up_limit="2/minute")).at(ATTACKER)
        assert [(await cheap_attempt(http)).status_code for _ in range(2)] == [422, 422]
        of_policy(await cheap_attempt(http), '"default";q=2;w=60')

    async def test_signing_admins_up(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_up_limit="1/hour")).at(ATTACKER)
        body = {"firstName": "Bo", "lastName": "Ek", "email": "bo@growfin.test", "password": "password"}
        secret = {"X-Org-Secret": desk.secret}
        assert (await http.post("/auth/admin/signup", json=body, headers=secret)).json()["code"] == "weak_password"
        of_policy(await http.post("/auth/admin/signup", json=body, headers=secret), '"default";q=1;w=3600')

    async def test_signing_in_whatever_the_account(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_in_limit="2/minute")).at(ATTACKER)
        emails = [(await create_user(desk)).email for _ in range(2)]
        assert [(await sign_in(http, email)).status_code for email in emails] == [401, 401]
        of_policy(await sign_in(http, unique_email()), '"default";q=2;w=60')

    async def test_another_address_is_another_client(self, start: Start) -> None:
        service = await start(sign_up_limit="1/minute")
        assert (await cheap_attempt(service.at(ATTACKER))).status_code == 422
        assert (await cheap_attempt(service.at(ATTACKER))).status_code == 429
        assert (await cheap_attempt(service.at(VICTIM))).status_code == 422

    async def test_all_addresses_of_an_ipv6_network_are_one_client(self, start: Start) -> None:
        service = await start(sign_up_limit="1/minute")
        assert (await cheap_attempt(service.at("2001:db8:1:2::1"))).status_code == 422
        assert (await cheap_attempt(service.at("2001:db8:1:2:ffff::9"))).status_code == 429
        assert (await cheap_attempt(service.at("2001:db8:1:3::1"))).status_code == 422

    async def test_who_has_signed_in_is_not_slowed_down(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_in_limit="1/minute", sign_up_limit="1/minute")).at(ATTACKER)
        await cheap_attempt(http)
        assert (await cheap_attempt(http)).status_code == 429
        assert (await http.get("/me", headers=desk.admin.headers)).status_code == 200


class TestForwardedAddresses:
    async def test_anybody_can_write_one_so_it_is_ignored(self, start: Start) -> None:
        http = (await start(sign_up_limit="1/minute")).at(ATTACKER)
        assert (await cheap_attempt(http, "198.51.100.1")).status_code == 422
        assert (await cheap_attempt(http, "198.51.100.2")).status_code == 429

    async def test_a_trusted_proxy_is_believed(self, start: Start) -> None:
        service = await start(sign_up_limit="1/minute", trusted_proxies="10.1.2.3/8")
        proxy = service.at("10.0.0.1")
        assert (await cheap_attempt(proxy, VICTIM)).status_code == 422
        assert (await cheap_attempt(proxy, VICTIM)).status_code == 429
        assert (await cheap_attempt(proxy, "198.51.100.8")).status_code == 422
        assert (await cheap_attempt(service.at(VICTIM))).status_code == 429, "it is the same client without the proxy"

    async def test_but_not_what_its_client_wrote_before_it(self, start: Start) -> None:
        proxy = (await start(sign_up_limit="1/minute", trusted_proxies="10.0.0.0/8")).at("10.0.0.1")
        assert (await cheap_attempt(proxy, f"{VICTIM}, {ATTACKER}")).status_code == 422
        assert (await cheap_attempt(proxy, f"192.0.2.99, {ATTACKER}, 10.0.0.2")).status_code == 429
        assert (await cheap_attempt(proxy, VICTIM)).status_code == 422

    async def test_others_are_not(self, start: Start) -> None:
        http = (await start(sign_up_limit="1/minute", trusted_proxies="10.0.0.0/8")).at("11.0.0.1")
        assert (await cheap_attempt(http, "198.51.100.1")).status_code == 422
        assert (await cheap_attempt(http, "198.51.100.2")).status_code == 429

    @pytest.mark.parametrize("forwarded", ["garbage", ",,,", "1.2.3.4:99999999", "[::1", "é", "x" * 5000])
    async def test_nonsense_in_one_is_no_defect(self, start: Start, forwarded: str) -> None:
        proxy = (await start(trusted_proxies="10.0.0.0/8")).at("10.0.0.1")
        headers = [(b"X-Forwarded-For", forwarded.encode())]
        answer = await proxy.post("/auth/org/signup", json={"name": "Growfin", "domain": "?"}, headers=headers)
        assert answer.status_code == 422


class TestFailures:
    async def test_an_address_may_guess_so_often_at_an_account(self, start: Start, desk: Desk) -> None:
        http = (await start(sign_in_failure_limit="2/5 minutes")).at(ATTACKER)
        email, another = [(await create_user(desk)).email for _ in range(2)]
        assert [(await sign_in(http, email)).status_code for _ in range(2)] == [401, 401]
        of_policy(await sign_in(http, email.upper()), '"default";q=2;w=300')
        assert (await sign_in(http, another)).status_code == 401

    async def test_guesses_at_an_account_that_nobody_has_count_too(self, start: Start) -> None:
        http, email = (await start(sign_in_failure_limit="1/5 minutes")).at(ATTACKER), unique_email()
        assert [(await sign_in(http, email)).status_code for _ in range(2)] == [401, 429]

    async def test_guesses_at_the_same_moment_count_too(self, start: Start, desk: Desk) -> None:
        http, email = (await start(sign_in_failure_limit="2/5 minutes")).at(ATTACKER), (await create_user(desk)).email
        answers = await asyncio.gather(*(sign_in(http, email) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [401] * 2 + [429] * 6

    async def test_who_knows_the_password_is_not_counted(self, start: Start, desk: Desk) -> None:
        http, email = (await start(sign_in_failure_limit="1/5 minutes")).at(VICTIM), unique_email()
        await create_user(desk, email)
        assert [(await sign_in(http, email, PASSWORD)).status_code for _ in range(3)] == [200] * 3

    async def test_a_right_password_does_not_win_further_guesses(self, start: Start, database: Database) -> None:
        service = await start(sign_in_failure_limit="2/5 minutes")
        http, email, own = service.at(ATTACKER), unique_email(), await create_desk(service.api, database)
        await create_user(own, email)  # the attacker's own organisation has somebody with the victim's e-mail
        assert (await sign_in(http, email)).status_code == 401
        assert (await sign_in(http, email, PASSWORD)).status_code == 200
        assert (await sign_in(http, email)).status_code == 401
        of_policy(await sign_in(http, email), '"default";q=2;w=300')

    async def test_to_be_asked_for_the_organisation_is_no_failure(
        self, start: Start, database: Database, desk: Desk
    ) -> None:
        service = await start(sign_in_failure_limit="1/5 minutes")
        http, email, other = service.at(VICTIM), unique_email(), await create_desk(service.api, database)
        await create_user(desk, email)
        await create_user(other, email)
        for _ in range(2):
            refused(await sign_in(http, email, PASSWORD), 409, "org_required")
        assert (await sign_in(http, email, PASSWORD, org=desk.domain)).status_code == 200


class TestOnesOwnAccount:
    """The attacker has one with the victim's e-mail, and sets its password to what the victim's may be."""

    @pytest.fixture
    async def own(self, api: Api, database: Database) -> Desk:
        return await create_desk(api, database)

    @pytest.mark.parametrize("door", ["/auth/signin", "/auth/admin/signin", "/auth/engineer/signin"])
    @pytest.mark.parametrize("status", ["ACTIVE", "PENDING", "SUSPENDED"])
    async def test_that_it_fits_does_not_make_guesses_at_the_other_free(
        self, start: Start, desk: Desk, own: Desk, door: str, status: str
    ) -> None:
        http, email = (await start(sign_in_failure_limit="2/5 minutes")).at(ATTACKER), unique_email()
        await create_user(desk, email)
        mine = await create_user(own, email)
        async with own.database.session(own.id) as db:
            which = (UserRow.org_id == own.id, UserRow.id == mine.id)
            await db.execute(update(UserRow).where(*which).values(status=status))
        statuses = []
        for n in range(3):
            guess = f"{PASSWORD}-{n}"
            await change_password(own, mine.id, guess)
            statuses.append((await http.post(door, json={"email": email, "password": guess})).status_code)
        assert statuses[2] == 429, statuses
        assert 429 not in statuses[:2]

    async def test_any_number_of_them_cost_no_more_than_a_few(self, start: Start, desk: Desk, own: Desk) -> None:
        http, email = (await start()).at(VICTIM), unique_email()
        for _ in range(MAX_MATCHING_ACCOUNTS + 1):
            await create_user(await create_desk(desk.api, desk.database), email)
        refused(await sign_in(http, email, PASSWORD), 409, "org_required")
        await create_user(own, email)
        assert (await sign_in(http, email, PASSWORD, org=own.domain)).status_code == 200


class TestVictims:
    """The account is guessed at from many addresses, more often than `account_failure_limit`."""

    @pytest.fixture
    async def email(self, desk: Desk) -> str:
        email = unique_email()
        await create_user(desk, email)
        return email

    @pytest.fixture
    async def service(self, start: Start, email: str) -> Service:
        service = await start(account_failure_limit="2/hour", sign_in_failure_limit="4/5 minutes")
        assert (await sign_in(service.at("192.0.2.200"), email, PASSWORD)).status_code == 200, "the owner's office"
        for stranger in ("203.0.113.1", "203.0.113.2"):
            assert (await sign_in(service.at(stranger), email)).status_code == 401
        return service

    async def test_the_owner_gets_in_from_anywhere_all_the_same(self, service: Service, email: str) -> None:
        for _ in range(4):
            assert (await sign_in(service.at(VICTIM), email, PASSWORD)).status_code == 200

    async def test_an_address_that_the_owner_never_used_gets_three_tries(self, service: Service, email: str) -> None:
        guesses = [(await sign_in(service.at(ATTACKER), email)).status_code for _ in range(4)]
        assert guesses == [401, 401, 401, 429]
        assert (await sign_in(service.at(VICTIM), email, PASSWORD)).status_code == 200

    async def test_an_address_that_the_owner_used_before_gets_as_many_as_ever(
        self, service: Service, email: str
    ) -> None:
        guesses = [(await sign_in(service.at("192.0.2.200"), email)).status_code for _ in range(5)]
        assert guesses == [401] * 4 + [429]

    async def test_an_account_of_ones_own_with_that_email_does_not_make_an_address_known(
        self, service: Service, database: Database, email: str
    ) -> None:
        own = await create_desk(service.api, database)
        await create_user(own, email, "another-heron-48-lamp")
        assert (await sign_in(service.at(ATTACKER), email, "another-heron-48-lamp")).status_code == 200
        assert (await sign_in(service.at(ATTACKER), email, "another-heron-48-lamp", org=own.domain)).status_code == 200
        guesses = [(await sign_in(service.at(ATTACKER), email)).status_code for _ in range(3)]
        assert guesses == [401, 401, 429], "the first of three was the one that did not fit the victim's account"


async def test_while_the_counts_cannot_be_reached_nobody_signs_up_or_in(start: Start, desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    http = (await start(redis_url=f"redis://127.0.0.1:{port}/0")).at(VICTIM)
    refused(await cheap_attempt(http), 503, "unavailable")
    refused(await sign_in(http, unique_email()), 503, "unavailable")
    assert (await http.get("/me", headers=desk.admin.headers)).status_code == 200, "all others go on"

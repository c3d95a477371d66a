"""Operations declare the type of their caller, and get a transaction in the caller's organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, Principal, ProductCaller, UserCaller
from app.access.credential_cache import CredentialCache
from app.access.operation_requirements import CurrentUser, CurrentUserBefore2FA, Product, Requirement, requires
from app.access.services import Services
from app.access.startup_checks import check_callers
from app.access.tenant import Tenant
from app.access.transactions import Db
from app.access.user_permissions import Action, Resource
from app.authentication.sessions.queries import find_principal
from app.core.database.pool import Database
from app.main import create_api
from app.organisations.queries import find_by_secret_hash
from tests.conftest import settings_for
from tests.organisation_client import Api, Desk
from tests.postgres import TestServer
from tests.problems import BEARER, ORG_SECRET, assert_problem

if TYPE_CHECKING:
    from app.core.database.pool import Driver

users_only = requires(Resource.TICKETS, Action.UPDATE)
users_and_products = requires(Resource.TICKETS, Action.VIEW, secret=True)


async def user_as_user(caller: Annotated[UserCaller, users_only]) -> None: ...
async def user_as_any_caller(caller: Annotated[Caller, users_only]) -> None: ...
async def user_as_product(caller: Annotated[ProductCaller, users_only]) -> None: ...
async def user_as_default(caller: Caller = users_only) -> None: ...
async def any_caller_as_any_caller(caller: Annotated[Caller, users_and_products]) -> None: ...
async def any_caller_as_user(caller: Annotated[UserCaller, users_and_products]) -> None: ...
async def any_caller_as_product(caller: Annotated[ProductCaller, users_and_products]) -> None: ...
async def current_user(caller: CurrentUser) -> None: ...
async def current_user_before_2fa(caller: CurrentUserBefore2FA) -> None: ...
async def product(caller: Product) -> None: ...
async def two_callers(caller: CurrentUser, other: Product) -> None: ...
async def transaction_of_user(db: Db, caller: CurrentUser) -> None: ...
async def transaction_of_no_caller(db: Db) -> None: ...
async def transaction_of_two_callers(db: Db, caller: CurrentUser, other: Product) -> None: ...


def check(endpoint: Callable[..., object]) -> None:
    app = FastAPI()
    app.add_api_route("/", endpoint)
    check_callers(app.routes)


@pytest.mark.parametrize(
    "endpoint",
    [
        user_as_user,
        any_caller_as_any_caller,
        current_user,
        current_user_before_2fa,
        product,
        transaction_of_user,
    ],
)
def test_an_annotation_that_fits_the_requirement_is_accepted(endpoint: Callable[..., object]) -> None:
    check(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [user_as_any_caller, user_as_product, user_as_default, any_caller_as_user, any_caller_as_product],
)
def test_an_annotation_that_does_not_fit_the_requirement_prevents_the_start(endpoint: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="its requirement gives"):
        check(endpoint)


def test_a_transaction_without_a_caller_prevents_the_start() -> None:
    with pytest.raises(TypeError, match="declares no requirement of its caller"):
        check(transaction_of_no_caller)


@pytest.mark.parametrize("endpoint", [two_callers, transaction_of_two_callers])
def test_two_callers_prevent_the_start(endpoint: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="declares 2 requirements of its caller instead of one"):
        check(endpoint)


def test_a_requirement_that_accepts_no_credentials_is_refused() -> None:
    with pytest.raises(ValueError, match="must accept access tokens, secret keys or both"):
        Requirement(users=False)


async def organisation_of(db: AsyncSession) -> str:
    return str(await db.scalar(text("SELECT current_setting('app.org_id')")))


async def transaction_first(db: Db, caller: Annotated[Caller, users_and_products]) -> list[str]:
    return [await organisation_of(db), str(caller.org_id)]


async def caller_first(caller: Annotated[Caller, users_and_products], db: Db) -> list[str]:
    return [await organisation_of(db), str(caller.org_id)]


async def two_requirements(caller: CurrentUser, other: Annotated[UserCaller, users_only]) -> None: ...


class Lookups:
    """The look-ups of the service, which are counted."""

    def __init__(self) -> None:
        self.count = 0

    async def find_tenant(self, database: Database, secret_hash: bytes) -> Tenant | None:
        self.count += 1
        return await find_by_secret_hash(database, secret_hash)

    async def find_user(
        self, driver: Driver, org_id: UUID, user_id: UUID, session_id: UUID, now: datetime
    ) -> tuple[Tenant, Principal] | None:
        self.count += 1
        return await find_principal(driver, org_id, user_id, session_id, now)


@pytest.fixture
def lookups() -> Lookups:
    return Lookups()


@pytest.fixture
async def client(server: TestServer, lookups: Lookups) -> AsyncIterator[httpx.AsyncClient]:
    """The service with operations of this file."""
    app = create_api(settings_for(server))
    for endpoint in (transaction_first, caller_first, two_requirements):
        app.add_api_route(f"/{endpoint.__name__}", endpoint)
    async with LifespanManager(app):
        services: Services = app.state.services
        cache = CredentialCache(
            services.database, services.secret_key, find_tenant=lookups.find_tenant, find_user=lookups.find_user
        )
        app.state.services = replace(services, credential_cache=cache)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test") as client:
            yield client


@pytest.mark.parametrize("path", ["/transaction_first", "/caller_first"])
async def test_the_transaction_is_in_the_callers_organisation_in_either_order_of_parameters(
    client: httpx.AsyncClient, desk: Desk, lookups: Lookups, path: str
) -> None:
    for headers in (desk.admin.headers, {"X-Org-Secret": desk.secret}):
        lookups.count = 0
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.json()) == (200, [str(desk.id)] * 2)
        assert lookups.count == 1, "a sandbox is looked up for every request, but once"


@pytest.mark.parametrize("path", ["/transaction_first", "/caller_first"])
async def test_a_refused_caller_gets_the_same_problem_in_either_order(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).json()["code"] == "missing_credential"
    wrong = {"Authorization": "Bearer hunter2"}
    assert (await client.get(path, headers=wrong)).json()["code"] == "invalid_token"


async def test_a_caller_who_fulfils_one_requirement_is_still_checked_against_another(
    client: httpx.AsyncClient, desk: Desk
) -> None:
    denied = {"granted": [], "denied": [{"resource": "tickets", "update": True}]}
    other = await desk.another_admin()
    answer = await desk.admin.put(f"/users/{other.id}/permissions", denied)
    assert answer.status_code == 200, answer.text
    assert (await client.get("/two_requirements", headers=desk.admin.headers)).status_code == 200
    answer = await client.get("/two_requirements", headers=other.headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_required")
    assert "tickets:update" in answer.json()["detail"]


def test_every_requirement_names_the_type_of_its_callers() -> None:
    assert Requirement().caller_type is UserCaller
    assert Requirement(secret=True).caller_type == UserCaller | ProductCaller
    assert Requirement(users=False, secret=True).caller_type is ProductCaller


@pytest.mark.parametrize(
    ("method", "path", "challenge", "header"),
    [
        ("GET", "/me", BEARER, "`Authorization: Bearer"),
        ("PATCH", "/org", BEARER, "`Authorization: Bearer"),
        ("GET", "/org", f"{BEARER}, {ORG_SECRET}", "or a secret key as `X-Org-Secret"),
        ("GET", "/tickets", f"{BEARER}, {ORG_SECRET}", "or a secret key as `X-Org-Secret"),
        ("POST", "/tickets", f"{BEARER}, {ORG_SECRET}", "or a secret key as `X-Org-Secret"),
        ("POST", "/auth/admin/signup", ORG_SECRET, "secret key as `X-Org-Secret"),
    ],
)
async def test_a_refusal_names_the_credentials_that_the_operation_accepts(
    api: Api, method: str, path: str, challenge: str, header: str
) -> None:
    answer = await api.http.request(method, path)

    assert header in assert_problem(answer, 401, "missing_credential")["detail"]
    assert answer.headers["www-authenticate"] == challenge
    wrong = await api.http.request(method, path, headers={"Authorization": "Bearer x"})
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, challenge)


async def test_a_refused_sign_in_names_the_access_token_as_the_credential(api: Api) -> None:
    answer = await api.http.post("/auth/signin", json={"email": "ada@growfin.com", "password": "x"})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, BEARER)

"""Cross-origin requests: the responses that browsers let the pages of other origins read."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager

from app.core.database.pool import Database
from app.core.web.cors import Origins
from app.main import create_app
from tests.conftest import settings_for
from tests.docs.openapi import DOCUMENT, OPERATIONS
from tests.organisation_client import Api, Desk, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields

OTHER = "https://never-listed.example"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def desk(api: Api, database: Database) -> Desk:
    """An organisation whose credentials are cached: those of sandboxes are not."""
    return await create_desk(api, database, sandbox=False)


def new_origin() -> str:
    return f"https://{uuid4().hex}.example"


async def allow(desk: Desk, *origins: str) -> None:
    assert (await desk.admin.patch("/org", {"allowedOrigins": origins})).status_code == 200


def allowed_origin(response: httpx.Response) -> str | None:
    assert "Origin" in response.headers["vary"]
    origin: str | None = response.headers.get("access-control-allow-origin")
    return origin


async def preflight(api: Api, origin: str, path: str = "/tickets") -> httpx.Response:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, if-match"}
    return await api.http.options(path, headers={"Origin": origin, **asked})


class TestSettings:
    async def test_origins_are_stored_as_browsers_write_them(self, desk: Desk) -> None:
        assert (await desk.admin.get("/org")).json()["allowedOrigins"] == []
        sent = [
            "HTTPS://Desk.Growfin.com:443",
            "https://desk.growfin.com/",
            "http://localhost:3000",
            "https://[2001:DB8::0:1]",
        ]
        answer = await desk.admin.patch("/org", {"allowedOrigins": sent})
        kept = ["https://desk.growfin.com", "http://localhost:3000", "https://[2001:db8::1]"]
        assert answer.json()["allowedOrigins"] == kept
        assert (await desk.admin.get("/org")).json()["allowedOrigins"] == kept

    @pytest.mark.parametrize(
        "origin",
        ["*", "null", "", "desk.growfin.com", "http://desk.growfin.com", "https://x.com/app", "https://x.com?a",
         "https://u@x.com", "https://x.com:0", "https://[::g]", "ftp://x.com", "https://*.x.com", None, 5],
    )  # fmt: skip
    async def test_anything_but_an_origin_is_refused(self, desk: Desk, origin: object) -> None:
        answer = await desk.admin.patch("/org", {"allowedOrigins": [origin]})
        assert read_invalid_fields(answer) == {"allowedOrigins.0"}

    async def test_there_can_be_twenty(self, desk: Desk) -> None:
        for count, status in ((20, 200), (21, 422)):
            answer = await desk.admin.patch("/org", {"allowedOrigins": [new_origin() for _ in range(count)]})
            assert answer.status_code == status


class TestPreflights:
    async def test_a_listed_origin_is_accepted_for_all_paths_and_any_other_is_not(self, api: Api, desk: Desk) -> None:
        origin = new_origin()
        assert_problem(await preflight(api, origin), 403, "origin_not_allowed")
        await allow(desk, origin)
        for path in ("/tickets", "/tickets/x", "/auth/signin", "/nothing"):
            answer = await preflight(api, origin, path)
            assert (answer.status_code, answer.content, allowed_origin(answer)) == (204, b"", origin)
            assert {"GET", "PATCH", "DELETE"} < set(answer.headers["access-control-allow-methods"].split(", "))
            assert {"Authorization", "If-Match"} < set(answer.headers["access-control-allow-headers"].split(", "))
        await allow(desk)
        assert_problem(await preflight(api, origin), 403, "origin_not_allowed")

    async def test_pages_may_send_every_header_that_an_operation_takes(self, api: Api, desk: Desk) -> None:
        origin = new_origin()
        await allow(desk, origin)
        parameters = [one for operation in OPERATIONS for one in operation.definition.get("parameters", [])]
        schemes = DOCUMENT["components"]["securitySchemes"].values()
        taken = {one["name"].lower() for one in (*parameters, *schemes) if one.get("in") == "header"}
        allowed = (await preflight(api, origin)).headers["access-control-allow-headers"].lower().split(", ")
        assert {"x-org-secret", "if-match"} < taken <= set(allowed)

    @pytest.mark.parametrize(
        "origin", ["null", "*", "x", "https://", "https://x.example/", "https://" + "x" * 300, "\x7f"]
    )
    async def test_a_malformed_origin_is_not_accepted(self, api: Api, origin: str) -> None:
        assert_problem(await preflight(api, origin), 403, "origin_not_allowed")

    async def test_the_origin_of_the_front_end_needs_no_listing(self, api: Api, desk: Desk) -> None:
        origin = new_origin()
        await desk.admin.patch("/org", {"appUrl": f"{origin}:443/app/de"})
        assert allowed_origin(await preflight(api, origin)) == origin
        await desk.admin.patch("/org", {"appUrl": None})
        assert_problem(await preflight(api, origin), 403, "origin_not_allowed")

    async def test_without_a_preflight_options_is_not_a_method(self, api: Api) -> None:
        assert_problem(await api.http.options("/tickets"), 405, "method_not_allowed")


class TestResponses:
    # An operation that is served without FastAPI, another one, errors, and one for which no credential is needed.
    @pytest.mark.parametrize("path", ["/tickets", "/me", "/tickets/x", "/nothing", "/tickets/", "/health/live"])
    async def test_only_the_pages_of_the_callers_organisation_can_read_them(
        self, api: Api, desk: Desk, path: str
    ) -> None:
        origin = new_origin()
        await allow(desk, origin)
        stranger = await create_desk(api, desk.database, sandbox=False)
        own = await api.http.get(path, headers=desk.admin.headers | {"Origin": origin})
        assert allowed_origin(own) == origin
        assert {"ETag", "Link", "RateLimit", "Retry-After"} < set(
            own.headers["access-control-expose-headers"].split(", ")
        )
        assert allowed_origin(await api.http.get(path, headers=desk.admin.headers | {"Origin": OTHER})) is None
        of_stranger = await api.http.get(path, headers=stranger.admin.headers | {"Origin": origin})
        is_anonymous = path in {"/nothing", "/tickets/", "/health/live"}  # no caller is identified
        assert (allowed_origin(of_stranger) == origin) is is_anonymous

    async def test_a_listed_page_can_read_the_errors_of_callers_without_a_credential(
        self, api: Api, desk: Desk
    ) -> None:
        origin = new_origin()
        await allow(desk, origin)
        for page, expected in ((origin, origin), (OTHER, None)):
            headers = JSON | {"Origin": page}
            answers = [
                await api.http.get("/tickets", headers=headers),
                await api.http.post("/auth/signin", json={}, headers=headers),
                await api.http.post("/auth/signin", content=b"{", headers=headers),
                await api.http.post("/auth/signin", content=b"x" * 1_100_000, headers=headers),
                await api.http.get(f"/{'x' * 9000}", headers=headers),
                await api.http.get("/tickets", headers=headers | {"X-Large": "x" * 33_000}),
            ]
            assert [answer.status_code for answer in answers] == [401, 422, 400, 413, 414, 431]
            assert {allowed_origin(answer) for answer in answers} == {expected}

    async def test_the_deployment_can_allow_origins_for_all_organisations(self, server: TestServer, desk: Desk) -> None:
        origin = new_origin()
        app = create_app(settings_for(server, cors_origins=[origin]))
        transport = httpx.ASGITransport(app=app)
        async with LifespanManager(app), httpx.AsyncClient(transport=transport, base_url="http://t") as http:
            answer = await http.get("/tickets", headers=desk.admin.headers | {"Origin": origin})
            other = await http.get("/tickets", headers=desk.admin.headers | {"Origin": OTHER})
        assert (allowed_origin(answer), allowed_origin(other)) == (origin, None)

    async def test_an_overloaded_service_lets_listed_pages_read_the_refusal(
        self, server: TestServer, desk: Desk
    ) -> None:
        origin = new_origin()
        await allow(desk, origin)
        app = create_app(settings_for(server, max_concurrent_requests=1))
        transport = httpx.ASGITransport(app=app)
        async with LifespanManager(app), httpx.AsyncClient(transport=transport, base_url="http://t") as http:
            headers = desk.admin.headers | {"Origin": origin}
            answers = await asyncio.gather(*(http.get("/tickets", headers=headers) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200, 503}
        assert {allowed_origin(answer) for answer in answers} == {origin}


class TestLookups:
    async def test_an_origin_is_looked_up_once_for_concurrent_and_later_requests(self) -> None:
        asked: list[str] = []

        async def is_listed(origin: str) -> bool:
            asked.append(origin)
            await asyncio.sleep(0.01)
            return True

        origins = Origins([], is_listed)
        assert all(await asyncio.gather(*(origins.is_listed("https://a.example") for _ in range(20))))
        assert await origins.is_listed("https://a.example")
        assert asked == ["https://a.example"]

    async def test_strangers_cannot_start_many_lookups_at_once(self) -> None:
        running, most = 0, 0

        async def is_listed(_origin: str) -> bool:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return True

        origins = Origins([], is_listed)
        found = await asyncio.gather(*(origins.is_listed(f"https://{n}.example") for n in range(50)))
        assert (most, sum(found)) == (4, 4)

    async def test_what_was_known_counts_while_the_database_cannot_be_read(self) -> None:
        failing = False

        async def is_listed(_origin: str) -> bool:
            if failing:
                raise OSError
            return True

        origins = Origins([], is_listed)
        assert await origins.is_listed("https://a.example")
        failing = True
        origins.invalidate()
        assert await origins.is_listed("https://a.example")
        assert not await origins.is_listed("https://b.example")

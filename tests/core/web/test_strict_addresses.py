"""Addresses and cursors are read strictly: a bad one is a 4xx."""

from __future__ import annotations

import httpx
import pytest

from tests.organisation_client import Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields


class TestCursors:
    """A cursor works only with the list that it was issued for."""

    async def cursor(self, desk: Desk) -> str:
        for _ in range(2):
            await desk.open()
        cursor = (await desk.admin.get("/tickets?limit=1&status=OPEN")).json()["nextCursor"]
        assert isinstance(cursor, str)
        return cursor

    async def test_a_cursor_continues_where_the_page_ended(self, desk: Desk) -> None:
        params = {"limit": 1, "status": "OPEN", "cursor": await self.cursor(desk)}
        page = (await desk.admin.get("/tickets", params=params)).json()
        assert ([ticket["number"] for ticket in page["items"]], page["nextCursor"]) == ([1], None)

    @pytest.mark.parametrize(
        "listed",
        ["/tickets", "/tickets?status=CLOSED", "/tickets?status=OPEN&status=CLOSED", "/notifications",
         "/tickets?status=OPEN&sort=createdAt", "/tickets?status=OPEN&priority=LOW"],
    )  # fmt: skip
    async def test_a_cursor_of_another_list_is_refused(self, desk: Desk, listed: str) -> None:
        params = httpx.URL(listed).params.add("cursor", await self.cursor(desk))
        assert read_invalid_fields(await desk.admin.get(listed, params=params), "invalid_cursor") == {"cursor"}

    async def test_a_cursor_of_another_organisation_is_refused(self, desk: Desk, stranger: Desk) -> None:
        params = {"status": "OPEN", "cursor": await self.cursor(stranger)}
        assert read_invalid_fields(await desk.admin.get("/tickets", params=params), "invalid_cursor") == {"cursor"}

    @pytest.mark.parametrize("forged", ["x", "AAAA", "\0", "é", "A" * 1024, "' OR 1=1 --", "W10="])
    async def test_a_forged_cursor_is_refused(self, desk: Desk, forged: str) -> None:
        ticket = await desk.open()
        for path in ("/tickets", "/notifications", f"/tickets/{ticket['id']}/history"):
            answer = await desk.admin.get(path, params={"cursor": forged})
            assert read_invalid_fields(answer, "invalid_cursor") == {"cursor"}

    async def test_a_broken_cursor_is_listed_with_the_other_faults(self, desk: Desk) -> None:
        for path in ("/tickets", "/notifications"):
            answer = await desk.admin.get(f"{path}?cursor=x&limit=0&colour=red")
            assert read_invalid_fields(answer) == {"cursor", "limit", "colour"}

    @pytest.mark.parametrize("cursor", ["", "A" * 1025])
    async def test_an_empty_or_too_long_cursor_is_refused(self, desk: Desk, cursor: str) -> None:
        for path in ("/tickets", "/notifications"):
            assert read_invalid_fields(await desk.admin.get(path, params={"cursor": cursor})) == {"cursor"}

    @pytest.fixture
    async def stranger(self, api: Api, desk: Desk) -> Desk:
        return await create_desk(api, desk.database)


class TestAddresses:
    @pytest.mark.parametrize(
        "path", ["/nothing", "/nothing/", "/ORG", "/auth", "/auth/", "/%00", "/%ff", "//org", "//org/"]
    )
    async def test_an_unknown_address_is_a_404(self, api: Api, desk: Desk, path: str) -> None:
        answer = await api.http.get(httpx.URL(f"http://tessera.test{path}"), headers=desk.admin.headers)
        assert_problem(answer, 404, "not_found")

    @pytest.mark.parametrize(
        ("address", "location"),
        [
            ("/org/", "/org"),
            ("/tickets/?q=a%20b&q=%2Fc/", "/tickets?q=a%20b&q=%2Fc/"),
            ("/tickets/a%2Bb%20c%3F/", "/tickets/a%2Bb%20c%3F"),
            ("/tickets//", "/tickets"),
            ("/docs/", "/docs"),
        ],
    )
    async def test_a_slash_at_the_end_is_redirected(self, api: Api, address: str, location: str) -> None:
        for method in ("GET", "POST", "PATCH"):
            answer = await api.http.request(method, httpx.URL(f"http://tessera.test{address}"))
            assert (answer.status_code, answer.headers["location"]) == (308, location)

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", "/org", {"GET", "HEAD", "PATCH"}),
            ("GET", "/auth/org/signup", {"POST"}),
            ("DELETE", "/tickets", {"GET", "HEAD", "POST"}),
            ("PUT", "/tickets/1", {"GET", "HEAD", "PATCH", "POST"}),
        ],
    )
    async def test_a_method_that_is_not_allowed_is_a_405(
        self, api: Api, method: str, path: str, allowed: set[str]
    ) -> None:
        answer = await api.http.request(method, path)
        assert_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed

    async def test_head_responds_like_get_without_a_body(self, api: Api, desk: Desk) -> None:
        for path in ("/health/live", "/docs", "/me", "/tickets", f"/tickets/{(await desk.open())['id']}"):
            whole = await api.http.get(path, headers=desk.admin.headers)
            head = await api.http.head(path, headers=desk.admin.headers)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]
            assert head.headers["content-length"] == str(len(whole.content))

    async def test_a_parameter_that_may_be_given_once_is_refused_twice(self, desk: Desk) -> None:
        answer = await desk.admin.get("/tickets?limit=10&limit=20&status=OPEN&status=CLOSED")
        assert read_invalid_fields(answer) == {"limit"}

    @pytest.mark.parametrize(
        "identifier", ["1", "x", "%00", "' OR 1=1", "0190b8e5-0000-7000-8000-0000000000x", "9" * 500]
    )
    async def test_a_malformed_id_is_a_422(self, desk: Desk, identifier: str) -> None:
        for path in (f"/tickets/{identifier}", f"/notifications/{identifier}"):
            assert read_invalid_fields(await desk.admin.get(path)) == {"id"}

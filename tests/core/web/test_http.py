"""Errors as problem documents, and input that nobody should send: always a 4xx, and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import orjson
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import func, select

from app.core import errors
from app.core.errors import BadInput, VersionConflict
from app.core.fields import In
from app.core.outbox.models import EventRow
from app.core.web.preconditions import check_if_match, etag
from app.core.web.problems import STATUS_OF, install_error_handlers
from app.core.web.routing import Route
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import refused, wrong_fields

JSON = {"Content-Type": "application/json"}

# Bodies that hold no value we could store, whatever the operation.
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b"  \n",
    "half a body": b'{"name": "Grow',
    "two bodies": b"{}{}",
    "a list": b"[]",
    "a list of bodies": b"[{}]",
    "a text": b'"name"',
    "a number": b"5",
    "null": b"null",
    "NaN": b'{"name": NaN}',
    "infinity": b'{"name": -Infinity}',
    "a number past all bounds": b'{"name": 1e400}',
    "a number of 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "a lone high surrogate": b'{"name": "\\ud800"}',
    "a lone low surrogate": b'{"name": "a\\udfffb"}',
    "a lone surrogate as a name": b'{"\\ud800": 1}',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-8 of a surrogate": b'{"name": "\xed\xa0\x80"}',
    "UTF-16": '{"name": "Growfin"}'.encode("utf-16"),
    "10,000 lists": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 objects": b'{"name": ' * 10_000 + b"1" + b"}" * 10_000,
    "lists that never end": b"[" * 10_000,
    "1,000 objects": b'{"name": ' * 1000 + b"1" + b"}" * 1000,
    "a NUL": b'{"name": "a\\u0000b", "\\u0000": 1}',
    "comments": b'{"name": "Growfin" /* ours */}',
    "a form": b"name=Growfin&domain=growfin.com",
    "many unknown fields": orjson.dumps({f"field{number}": number for number in range(2000)}),
    "an unknown field with a long name": orjson.dumps({"x" * 10_000: 1}),
    "a prototype": b'{"__proto__": {"role": "ADMIN"}, "constructor": 1}',
}


def operations(desk: Desk) -> list[tuple[str, str, dict[str, str]]]:
    """Every operation of these nouns that takes a body."""
    secret = {"X-Org-Secret": desk.secret}
    return [
        ("POST", "/auth/org/signup", {}),
        ("PATCH", "/org", desk.admin.headers),
        ("POST", "/org/clock/advance", desk.admin.headers),
        ("POST", "/auth/admin/signup", secret),
        ("POST", "/auth/admin/signin", {}),
        ("PATCH", "/me", desk.admin.headers),
        ("POST", "/tickets", secret),
    ]


async def state_of(desk: Desk) -> list[object]:
    org, me = (await desk.admin.get("/org")).json(), (await desk.admin.get("/me")).json()
    org.pop("now")
    async with desk.database.session(desk.id) as db:
        return [org, me, await db.scalar(select(func.count()).where(EventRow.org_id == desk.id))]


class TestHostileBodies:
    @pytest.mark.parametrize("what", HOSTILE)
    async def test_one_is_refused_by_every_operation_and_nothing_is_written(
        self, api: Api, desk: Desk, what: str
    ) -> None:
        before = await state_of(desk)
        for method, path, headers in operations(desk):
            answer = await api.http.request(method, path, content=HOSTILE[what], headers=headers | JSON)
            assert answer.status_code == 422, f"{method} {path}: {answer.text[:500]}"
            assert len(answer.content) < 20_000, "an answer does not grow with what was sent"
            errors_ = refused(answer, 422, "invalid_input")["errors"]
            assert 1 <= len(errors_) <= 50
        assert await state_of(desk) == before

    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "", "x"]
    )
    async def test_a_body_of_another_type_is_refused(self, api: Api, desk: Desk, media_type: str) -> None:
        before = await state_of(desk)
        for content in (b'{"firstName": "Eve", "name": "Evil"}', b"\xff\0"):
            for path in ("/me", "/org"):
                headers = desk.admin.headers | {"Content-Type": media_type}
                answer = await api.http.request("PATCH", path, content=content, headers=headers)
                refused(answer, 422, "invalid_input")
        assert await state_of(desk) == before

    async def test_a_body_over_the_limit_is_refused_unread(self, api: Api, desk: Desk) -> None:
        body = b'{"firstName": "' + b"x" * 1_048_576 + b'"}'
        answer = await api.http.request("PATCH", "/me", content=body, headers=desk.admin.headers | JSON)
        refused(answer, 413, "body_too_large")

    @pytest.mark.parametrize("number", [2**31, 2**63, 2**64, 10**30, -(2**63) - 1, 1.5, 1e308])
    async def test_a_number_that_does_not_fit_is_refused(self, desk: Desk, number: float) -> None:
        text = str(number).encode() if isinstance(number, int) else orjson.dumps(number)
        for path, field in (("/org", "autoCloseDays"), ("/org/clock/advance", "seconds")):
            answer = await desk.api.http.request(
                "PATCH" if path == "/org" else "POST",
                path,
                content=b'{"%b": %b}' % (field.encode(), text),
                headers=desk.admin.headers | JSON,
            )
            assert wrong_fields(answer) == {field}

    async def test_the_last_of_two_equal_names_counts_for_the_credential_too(self, api: Api, desk: Desk) -> None:
        body = b'{"secret": "tsk_x", "secret": "%b", "title": 5}' % desk.secret.encode()
        answer = await api.http.post("/tickets", content=body, headers=JSON)
        assert "title" in wrong_fields(answer), "the credential was good"


class TestQueries:
    @pytest.mark.parametrize(
        "path", ["/org", "/me", "/jobs", "/tickets", "/notifications", "/health/live", "/health/ready", "/metrics"]
    )
    async def test_an_unknown_parameter_is_refused(self, desk: Desk, path: str) -> None:
        assert wrong_fields(await desk.admin.get(path, params={"nonsense": 1, "limit_": 2})) == {"nonsense", "limit_"}

    async def test_even_a_hostile_one(self, api: Api) -> None:
        for query in ("%00=1", "=", "a[]=1", "x" * 5000, "&".join(f"a{n}" for n in range(900))):
            answer = await api.http.get(f"/health/live?{query}")
            assert 1 <= len(wrong_fields(answer)) <= 50, query

    @pytest.mark.parametrize("query", ["%ff=1", "limit=%ff", "customerEmail=%ED%A0%80", "cursor=%c3", "status=OPEN%80"])
    async def test_one_that_is_no_text_is_refused(self, desk: Desk, query: str) -> None:
        refused(await desk.admin.get(f"/tickets?{query}"), 422, "invalid_input")

    async def test_before_anything_is_done(self, api: Api, desk: Desk) -> None:
        answer = await api.http.patch("/me?force=1", json={"firstName": "Eve"}, headers=desk.admin.headers)
        assert wrong_fields(answer) == {"force"}
        assert (await desk.admin.get("/me")).json()["firstName"] == "Ada"

    @pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", "", "9" * 30, "1e1", "%00"])
    async def test_a_limit_is_a_number_up_to_100(self, desk: Desk, limit: str) -> None:
        for path in ("/tickets", "/notifications"):
            assert wrong_fields(await desk.admin.get(f"{path}?limit={limit}")) == {"limit"}

    async def test_a_parameter_is_named_with_its_place(self, desk: Desk) -> None:
        answer = await desk.admin.get("/tickets?status=OPEN&status=SHUT&customerEmail=nobody")
        assert wrong_fields(answer) == {"status.1", "customerEmail.0"}


class TestCursors:
    """Those of a list do not work with another, and one that was made up works with none."""

    async def cursor(self, desk: Desk) -> str:
        for _ in range(2):
            await desk.open()
        cursor = (await desk.admin.get("/tickets?limit=1&status=OPEN")).json()["nextCursor"]
        assert isinstance(cursor, str)
        return cursor

    async def test_it_goes_on_where_the_page_ended(self, desk: Desk) -> None:
        params = {"limit": 1, "status": "OPEN", "cursor": await self.cursor(desk)}
        page = (await desk.admin.get("/tickets", params=params)).json()
        assert ([ticket["number"] for ticket in page["items"]], page["nextCursor"]) == ([1], None)

    @pytest.mark.parametrize(
        "listed",
        ["/tickets", "/tickets?status=CLOSED", "/tickets?status=OPEN&status=CLOSED", "/notifications",
         "/tickets?status=OPEN&sort=createdAt", "/tickets?status=OPEN&priority=LOW"],
    )  # fmt: skip
    async def test_of_another_list_it_is_refused(self, desk: Desk, listed: str) -> None:
        params = httpx.URL(listed).params.add("cursor", await self.cursor(desk))
        assert wrong_fields(await desk.admin.get(listed, params=params), "invalid_cursor") == {"cursor"}

    async def test_of_another_organisation_it_is_refused(self, desk: Desk, stranger: Desk) -> None:
        params = {"status": "OPEN", "cursor": await self.cursor(stranger)}
        assert wrong_fields(await desk.admin.get("/tickets", params=params), "invalid_cursor") == {"cursor"}

    @pytest.mark.parametrize("forged", ["x", "AAAA", "\0", "é", "A" * 1024, "' OR 1=1 --", "W10="])
    async def test_a_forged_one_is_refused(self, desk: Desk, forged: str) -> None:
        ticket = await desk.open()
        for path in ("/tickets", "/notifications", f"/tickets/{ticket['id']}/history"):
            answer = await desk.admin.get(path, params={"cursor": forged})
            assert wrong_fields(answer, "invalid_cursor") == {"cursor"}

    @pytest.mark.parametrize("cursor", ["", "A" * 1025])
    async def test_one_of_no_length_or_too_much_is_refused(self, desk: Desk, cursor: str) -> None:
        for path in ("/tickets", "/notifications"):
            assert wrong_fields(await desk.admin.get(path, params={"cursor": cursor})) == {"cursor"}

    @pytest.fixture
    async def stranger(self, api: Api, desk: Desk) -> Desk:
        return await create_desk(api, desk.database)


class TestAddresses:
    @pytest.mark.parametrize(
        "path", ["/nothing", "/org/", "/me/", "/ORG", "/auth", "/tickets/", "/%00", "/%ff", "//org"]
    )
    async def test_an_unknown_one_is_a_404(self, api: Api, desk: Desk, path: str) -> None:
        answer = await api.http.get(httpx.URL(f"http://tessera.test{path}"), headers=desk.admin.headers)
        refused(answer, 404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", "/org", {"GET", "HEAD", "PATCH"}),
            ("GET", "/auth/org/signup", {"POST"}),
            ("DELETE", "/tickets", {"GET", "HEAD", "POST"}),
            ("PUT", "/tickets/1", {"GET", "HEAD", "PATCH", "POST"}),
        ],
    )
    async def test_a_method_that_it_has_not_is_a_405(self, api: Api, method: str, path: str, allowed: set[str]) -> None:
        answer = await api.http.request(method, path)
        refused(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed

    async def test_what_answers_get_answers_head_without_a_body(self, api: Api, desk: Desk) -> None:
        for path in ("/health/live", "/docs", "/me", "/tickets", f"/tickets/{(await desk.open())['id']}"):
            whole = await api.http.get(path, headers=desk.admin.headers)
            head = await api.http.head(path, headers=desk.admin.headers)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]
            assert head.headers["content-length"] == str(len(whole.content))

    async def test_what_is_given_twice_and_meant_once_is_refused(self, desk: Desk) -> None:
        answer = await desk.admin.get("/tickets?limit=10&limit=20&status=OPEN&status=CLOSED")
        assert wrong_fields(answer) == {"limit"}

    @pytest.mark.parametrize(
        "identifier", ["1", "x", "%00", "' OR 1=1", "0190b8e5-0000-7000-8000-0000000000x", "9" * 500]
    )
    async def test_an_id_that_is_none_is_a_422(self, desk: Desk, identifier: str) -> None:
        for path in (f"/tickets/{identifier}", f"/notifications/{identifier}"):
            assert wrong_fields(await desk.admin.get(path)) == {"id"}


class TestIfMatch:
    @pytest.mark.parametrize(
        "header", [None, "*", ' "*" , "3"', '"3"', ' "3" ', '"1", "3"', '"1","2" ,W/"9", "3"', " * "]
    )
    def test_one_that_names_the_version_is_fine(self, header: str | None) -> None:
        check_if_match(header, 3)

    @pytest.mark.parametrize("header", ['"2"', 'W/"3"', '"1", "2"', '"03"', '"3 "', '""', '"*"', 'W/"3", "4"'])
    def test_one_that_does_not_is_a_conflict(self, header: str) -> None:
        with pytest.raises(VersionConflict):
            check_if_match(header, 3)

    @pytest.mark.parametrize(
        "header", ["", "3", '"3', '3"', '"3" "4"', 'w/"3"', "*, *", '"3"; "4"', '"3",x', "'3'", '"' * 999]
    )
    def test_one_that_is_none_is_refused(self, header: str) -> None:
        with pytest.raises(BadInput):
            check_if_match(header, 3)

    def test_a_version_is_written_in_quotes(self) -> None:
        assert etag(3) == '"3"'
        check_if_match(etag(3), 3)

    @pytest.mark.parametrize(
        ("header", "status", "code"), [('"0"', 412, "version_conflict"), ("x", 422, "invalid_input")]
    )
    async def test_over_http(self, desk: Desk, header: str, status: int, code: str) -> None:
        ticket = await desk.open()
        answer = await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": "New"}, **{"If-Match": header})
        refused(answer, status, code)
        assert (await desk.read(ticket))["title"] == ticket["title"]


class TestFieldNames:
    """A field is named by its path in the JSON that was sent."""

    class Line(In):
        unit_price: int

    class Order(In):
        order_lines: list[TestFieldNames.Line]

    @pytest.fixture
    def http(self) -> httpx.AsyncClient:
        app, router = FastAPI(), APIRouter(route_class=Route)

        @router.post("/orders")
        async def order(body: TestFieldNames.Order) -> int:
            return len(body.order_lines)

        app.include_router(router)
        install_error_handlers(app)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test")

    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({"orderLines": [{"unitPrice": 1}, {"unitPrice": "x"}]}, ["orderLines.1.unitPrice"]),
            ({"orderLines": [{}, {"unit_price": 1}]},
             ["orderLines.0.unitPrice", "orderLines.1.unitPrice", "orderLines.1.unit_price"]),
            ({"orderLines": 5, "order": 6}, ["orderLines", "order"]),
            ({}, ["orderLines"]),
            ([], [""]),
        ],
    )  # fmt: skip
    async def test_the_path_is_whole_and_in_camel_case(
        self, http: httpx.AsyncClient, body: Any, wrong: Sequence[str]
    ) -> None:
        answer = await http.post("/orders", json=body)
        assert [error["field"] for error in answer.json()["errors"]] == wrong

    async def test_a_broken_text_has_no_fields(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/orders", content=b'{"orderLines": [', headers=JSON)
        assert answer.json()["errors"] == [{"field": "", "message": "The body is not valid JSON."}]


def test_every_kind_of_error_has_a_status_and_a_code_of_its_own() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.TesseraError) and kind is not errors.TesseraError
    }
    assert kinds == set(STATUS_OF)
    assert len({kind.code for kind in kinds}) == len(kinds)


class TestABodyWhereNoneIsTaken:
    @pytest.mark.parametrize("body", [b"", b"{}", b" {} ", b"null"])
    async def test_nothing_may_be_sent_as_nothing(self, desk: Desk, body: bytes) -> None:
        answer = await desk.admin.http.post(
            "/auth/2fa/setup", content=body, headers=desk.admin.headers | {"Content-Type": "application/json"}
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize("body", [b'{"userId": 1}', b"[]", b"x", b'{"a": '])
    async def test_anything_else_is_refused_and_nothing_happens(self, desk: Desk, body: bytes) -> None:
        for path in ("/auth/2fa/setup", "/auth/signout-all"):
            answer = await desk.admin.http.post(
                path, content=body, headers=desk.admin.headers | {"Content-Type": "application/json"}
            )
            assert wrong_fields(answer) == {""}
        assert (await desk.admin.get("/me")).status_code == 200

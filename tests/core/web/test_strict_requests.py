"""Requests are read strictly: bad input is always a 4xx, and nothing is written."""

from __future__ import annotations

import orjson
import pytest
from sqlalchemy import func, select

from app.core.clock import real_now
from app.core.outbox.models import EventRow
from tests.authentication.account_state import update_user
from tests.core.web.bodies import HOSTILE_BODIES, MALFORMED_BODIES
from tests.organisation_client import Api, Desk
from tests.problems import assert_problem, read_invalid_fields

JSON = {"Content-Type": "application/json"}


def operations(desk: Desk) -> list[tuple[str, str, dict[str, str]]]:
    """List operations that take a body."""
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
    @pytest.mark.parametrize("what", HOSTILE_BODIES)
    async def test_a_hostile_body_is_refused_by_every_operation_and_nothing_is_written(
        self, api: Api, desk: Desk, what: str
    ) -> None:
        before = await state_of(desk)
        for method, path, headers in operations(desk):
            answer = await api.http.request(method, path, content=HOSTILE_BODIES[what], headers=headers | JSON)
            assert len(answer.content) < 20_000, "the response does not grow with the request"
            if what in MALFORMED_BODIES:
                assert_problem(answer, 400, "malformed_body")
            else:
                errors_ = assert_problem(answer, 422, "invalid_input")["errors"]
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
                assert_problem(answer, 415, "unsupported_media_type")
        assert await state_of(desk) == before

    async def test_a_body_over_the_limit_is_refused_unread(self, api: Api, desk: Desk) -> None:
        body = b'{"firstName": "' + b"x" * 1_048_576 + b'"}'
        answer = await api.http.request("PATCH", "/me", content=body, headers=desk.admin.headers | JSON)
        assert_problem(answer, 413, "body_too_large")

    @pytest.mark.parametrize("number", [2**31, 2**63, 2**64, 10**30, -(2**63) - 1, 1.5, 1e308])
    async def test_a_number_out_of_range_is_refused(self, desk: Desk, number: float) -> None:
        text = str(number).encode() if isinstance(number, int) else orjson.dumps(number)
        for path, field in (("/org", "autoCloseDays"), ("/org/clock/advance", "seconds")):
            answer = await desk.api.http.request(
                "PATCH" if path == "/org" else "POST",
                path,
                content=b'{"%b": %b}' % (field.encode(), text),
                headers=desk.admin.headers | JSON,
            )
            assert read_invalid_fields(answer) == {field}
            if isinstance(number, int):  # and not only that it must be a whole number
                least, most = {"autoCloseDays": (1, 365), "seconds": (0, 34_560_000)}[field]
                bound = f"at most {most}" if number > 0 else f"at least {least}"
                assert answer.json()["errors"][0]["message"] == f"This must be {bound}."

    @pytest.mark.parametrize("path", ["/tickets", "/auth/signin"])
    async def test_a_name_twice_in_one_object_is_malformed_also_below(self, api: Api, path: str) -> None:
        for body in (b'{"secret": "tsk_x", "secret": "tsk_y"}', b'{"a": [{"b": ":", "c": {"d": 1, "d": 1}}]}'):
            problem = assert_problem(await api.http.post(path, content=body, headers=JSON), 400, "malformed_body")
            assert "has two members named `" in problem["detail"]

    @pytest.mark.parametrize("path", ["/tickets", "/auth/org/signup"])
    async def test_a_lone_surrogate_is_named_with_its_field_beside_the_other_faults(
        self, api: Api, desk: Desk, path: str
    ) -> None:
        body = b'{"title": "ab\\ud800", "name": "ab\\ud800", "colour": 1}'
        answer = await api.http.post(path, content=body, headers=JSON | {"X-Org-Secret": desk.secret})
        field = "title" if path == "/tickets" else "name"
        fault = {"field": field, "message": "The lone surrogate U+D800 at position 3 is not allowed: remove it."}
        errors_ = assert_problem(answer, 422, "invalid_input")["errors"]
        assert fault in errors_
        assert "colour" in {one["field"] for one in errors_}

    async def test_a_byte_order_mark_before_the_body_is_dropped(self, desk: Desk) -> None:
        answer = await desk.admin.http.patch(
            "/me", content=b'\xef\xbb\xbf{"firstName": "Eve"}', headers=desk.admin.headers | JSON
        )
        assert answer.json()["firstName"] == "Eve"


class TestQueries:
    @pytest.mark.parametrize(
        "path", ["/org", "/me", "/jobs", "/tickets", "/notifications", "/health/live", "/health/ready", "/metrics"]
    )
    async def test_an_unknown_parameter_is_refused(self, desk: Desk, path: str) -> None:
        assert read_invalid_fields(await desk.admin.get(path, params={"nonsense": 1, "limit_": 2})) == {
            "nonsense",
            "limit_",
        }

    async def test_a_hostile_unknown_parameter_is_refused(self, api: Api) -> None:
        for query in ("%00=1", "=", "a[]=1", "x" * 5000, "&".join(f"a{n}" for n in range(900))):
            answer = await api.http.get(f"/health/live?{query}")
            assert 1 <= len(read_invalid_fields(answer)) <= 50, query

    @pytest.mark.parametrize("query", ["%ff=1", "limit=%ff", "customerEmail=%ED%A0%80", "cursor=%c3", "status=OPEN%80"])
    async def test_a_parameter_that_is_not_utf_8_is_refused(self, desk: Desk, query: str) -> None:
        for path in ("/tickets", "/notifications"):
            document = assert_problem(await desk.admin.get(f"{path}?{query}&limit=0"), 422, "invalid_input")
            assert document["errors"] == [{"field": "", "message": "The query is not valid UTF-8."}]

    async def test_an_unknown_parameter_is_refused_before_anything_changes(self, api: Api, desk: Desk) -> None:
        answer = await api.http.patch("/me?force=1", json={"firstName": "Eve"}, headers=desk.admin.headers)
        assert read_invalid_fields(answer) == {"force"}
        assert (await desk.admin.get("/me")).json()["firstName"] == "Ada"

    @pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", "", "9" * 30, "1e1", "%00"])
    async def test_a_limit_is_a_number_up_to_100(self, desk: Desk, limit: str) -> None:
        for path in ("/tickets", "/notifications"):
            assert read_invalid_fields(await desk.admin.get(f"{path}?limit={limit}")) == {"limit"}

    async def test_a_repeated_parameter_is_named_with_its_position(self, desk: Desk) -> None:
        answer = await desk.admin.get("/tickets?status=OPEN&status=SHUT&customerEmail=nobody")
        assert read_invalid_fields(answer) == {"status.1", "customerEmail.0"}


class TestAllFaultsInOneResponse:
    """Unknown and bad query parameters, bad path parameters and bad fields are listed together."""

    async def test_an_ordinary_route_lists_all_faults(self, desk: Desk) -> None:
        params = {"limit": 0, "nonsense": 1, "cursor": ""}
        assert read_invalid_fields(await desk.admin.get("/notifications", params=params)) == {
            "limit",
            "nonsense",
            "cursor",
        }
        answer = await desk.admin.http.patch(
            "/users/x?force=1", json={"firstName": 5, "colour": "red"}, headers=desk.admin.headers
        )
        assert read_invalid_fields(answer) == {"force", "id", "firstName", "colour"}

    async def test_a_fast_route_lists_all_faults(self, api: Api, desk: Desk) -> None:
        params = {"limit": 0, "nonsense": 1, "status": "SHUT"}
        assert read_invalid_fields(await desk.admin.get("/tickets", params=params)) == {
            "limit",
            "nonsense",
            "status.0",
        }
        answer = await api.http.post("/tickets?force=1", json={"title": 5}, headers={"X-Org-Secret": desk.secret})
        assert read_invalid_fields(answer) == {"force", "title", "description", "requester"}

    async def test_a_body_is_one_of_the_faults(self, desk: Desk) -> None:
        answer = await desk.admin.http.post("/auth/2fa/setup?force=1", json={"userId": 1}, headers=desk.admin.headers)
        assert read_invalid_fields(answer) == {"force", ""}

    async def test_malformed_json_is_refused_alone(self, api: Api, desk: Desk) -> None:
        for path in ("/tickets?force=1", "/auth/org/signup?force=1"):
            answer = await api.http.post(path, content=b"[", headers=JSON | {"X-Org-Secret": desk.secret})
            assert_problem(answer, 400, "malformed_body")

    async def test_a_malformed_header_is_one_of_the_faults(self, desk: Desk) -> None:
        ticket = await desk.open()
        answer = await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": ""}, **{"If-Match": "x"})
        assert read_invalid_fields(answer) == {"If-Match", "title"}

    async def test_each_fault_is_listed_once(self, desk: Desk) -> None:
        for path in ("/tickets", "/notifications"):
            answer = await desk.admin.get(f"{path}?nonsense=1&limit=0&limit=x")
            assert [fault["field"] for fault in answer.json()["errors"]] == ["limit", "nonsense"]

    async def test_a_stranger_learns_no_faults(self, api: Api) -> None:
        for path in ("/tickets?nonsense=1", "/notifications?nonsense=1"):
            assert_problem(await api.http.get(path), 401, "missing_credential")

    async def test_the_detail_states_the_first_fault_and_how_many_there_are(self, desk: Desk) -> None:
        details = [
            (await desk.admin.get(f"/tickets?{query}")).json()["detail"]
            for query in ("colour=red", "colour=red&limit=0", "colour=red&limit=0&status=SHUT")
        ]
        assert details == [
            "colour: There is no such parameter.",
            "colour: There is no such parameter. There is 1 more error: see `errors`.",
            "colour: There is no such parameter. There are 2 more errors: see `errors`.",
        ]

    @pytest.mark.parametrize(
        ("content", "media_type", "problem"),
        [
            (b"[1, 2", "application/json",
             (400, "malformed_body", "The body is not valid JSON: the error is at character 6.")),
            (b"{a: 1}", "application/json",
             (400, "malformed_body", "The body is not valid JSON: the error is at character 2.")),
            (b'"\xff"', "application/json",
             (400, "malformed_body", "The body is not text in UTF-8: byte 2 does not belong there.")),
            (b"[]", "application/json", (422, "invalid_input", "The body must be a JSON object.")),
            (b'"x"', "application/json", (422, "invalid_input", "The body must be a JSON object.")),
            (b"{}", "text/plain",
             (415, "unsupported_media_type", "Send the body as `Content-Type: application/json`.")),
            (b"{}", "", (415, "unsupported_media_type", "Send the body as `Content-Type: application/json`.")),
            (b"", "application/json", (422, "invalid_input",
             "A body is required: send a JSON object, with Content-Type: application/json.")),
        ],
    )  # fmt: skip
    async def test_a_body_that_cannot_be_read_is_refused_with_the_reason(
        self, api: Api, desk: Desk, content: bytes, media_type: str, problem: tuple[int, str, str]
    ) -> None:
        status, code, detail = problem
        for path in ("/tickets", "/auth/org/signup"):
            headers = {"Content-Type": media_type, "X-Org-Secret": desk.secret}
            answer = await api.http.post(path, content=content, headers=headers)
            assert assert_problem(answer, status, code)["detail"] == detail


class TestOperationsWithoutABody:
    @pytest.mark.parametrize("body", [b"", b"{}", b" { } ", b"\xef\xbb\xbf{\n}", b"null"])
    async def test_an_empty_body_is_accepted(self, desk: Desk, body: bytes) -> None:
        await update_user(desk, desk.admin.id, email_verified_at=real_now())
        answer = await desk.admin.http.post(
            "/auth/2fa/setup", content=body, headers=desk.admin.headers | {"Content-Type": "application/json"}
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize("body", [b'{"userId": 1}', b"[]", b"x", b'{"a": '])
    async def test_any_other_body_is_refused_and_nothing_changes(self, desk: Desk, body: bytes) -> None:
        for path in ("/auth/2fa/setup", "/auth/signout-all"):
            answer = await desk.admin.http.post(
                path, content=body, headers=desk.admin.headers | {"Content-Type": "application/json"}
            )
            assert read_invalid_fields(answer) == {""}
        assert (await desk.admin.get("/me")).status_code == 200

"""Random input is either accepted or refused with a problem document, and refused input writes nothing."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.organisation_client import Desk

PROBLEM = "application/problem+json"
JSON_TYPE = {"Content-Type": "application/json"}

tries = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),  # all examples of a test share an organisation on purpose
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)

# All characters, including NUL, control characters and lone surrogates.
NASTY_TEXTS = [
    "\0", "a\0b", "\ud800", "\udfff\ud800", "\x7f", "\x85", "\u202e", "\ufeff", "\u2028", " ", "\n", "x" * 300,
    "İ" * 200, "ß@ß.ß", "a@" + "b." * 200 + "c", "'; DROP TABLE tickets; --", "{{7*7}}", "%00", "../../etc/passwd",
]  # fmt: skip
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=40) | st.sampled_from(NASTY_TEXTS)
NUMBER = (
    st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from([2**31, 2**63, 2**64, -(2**63) - 1, 10**400, math.nan, math.inf, -math.inf, 1e308, -0.0])
)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
GOOD = {"title": "It broke", "description": "All of it.", "addedBy": "mia@customer.example"}


def encode(value: object, *, escaped: bool) -> bytes:
    """Encode a value as JSON, with escaped or plain non-ASCII characters. A plain lone surrogate is invalid UTF-8."""
    return json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


def assert_success_or_problem(answer: httpx.Response) -> None:
    """Assert that a response is a success, or a problem document about bad input."""
    if answer.is_success:
        return
    problem = answer.json()
    assert answer.is_client_error, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert problem["status"] == answer.status_code
    assert {"type", "title", "detail", "code", "requestId"} <= set(problem)
    assert answer.headers["x-request-id"] == problem["requestId"]


async def post(desk: Desk, content: bytes, **headers: str) -> httpx.Response:
    """Post a ticket with this body, and check that a refused one writes nothing."""
    before = await count_tickets(desk)
    both = {"X-Org-Secret": desk.secret} | JSON_TYPE | headers
    answer = await desk.api.http.post("/tickets", content=content, headers=both)
    assert_success_or_problem(answer)
    assert await count_tickets(desk) == before + answer.is_success
    return answer


async def count_tickets(desk: Desk) -> int:
    answer = await desk.admin.get("/tickets", params={"include": "total", "limit": 1})
    total: int = answer.json()["total"]
    return total


@tries
@given(value=VALUE, escaped=st.booleans())
async def test_any_json_can_be_posted(desk: Desk, value: object, escaped: bool) -> None:
    await post(desk, encode(value, escaped=escaped))


@tries
@given(name=st.sampled_from([*GOOD, "priority", "secret"]) | TEXT, value=VALUE, escaped=st.booleans())
async def test_any_field_can_have_any_value(desk: Desk, name: str, value: object, escaped: bool) -> None:
    answer = await post(desk, encode(GOOD | {name: value}, escaped=escaped))

    if answer.is_success:
        assert await desk.read(answer.json()) == answer.json() | {"comments": []}


@tries
@given(text=TEXT, field=st.sampled_from(["title", "description"]))
async def test_a_text_is_stored_or_refused(desk: Desk, text: str, field: str) -> None:
    answer = await post(desk, encode(GOOD | {field: text}, escaped=True))

    breaks, space = ("\r\n|[\r\v\f\x85]", "\n") if field == "description" else ("\r\n|[\n\r\v\f\x85\u2028\u2029]", " ")
    expected = re.sub(breaks, space, text.removeprefix("\ufeff")).strip()
    if answer.is_success:
        assert answer.json()[field] == expected
        assert not any(character in expected for character in "\0\x1b\x7f\x85\ud800\r")
    else:
        assert answer.status_code == 422
        assert {error["field"] for error in answer.json()["errors"]} == {field}


@tries
@given(content=st.binary(max_size=200))
async def test_any_bytes_can_be_posted(desk: Desk, content: bytes) -> None:
    assert not (await post(desk, content)).is_success


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"NaN",
        b'{"title": NaN}',
        b'{"title": Infinity, "description": -Infinity}',
        b'{"title": 1e999}',
        b'{"title": ' + b"9" * 5_000 + b"}",
        b"[" * 100_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"title": "\xed\xa0\x80"}',
        b'{"title": "\\ud800"}',
        b'{"title": "a\0b"}',
        b'{"title": "\\u0000"}',
        b"\xef\xbb\xbf{}",
        json.dumps(GOOD).encode("utf-16"),
        json.dumps(GOOD).encode("utf-32"),
        json.dumps(GOOD).encode() + b"x",
        b'{"title": 1, "title": 2}',
        b'{"__proto__": {}, "constructor": 1}',
        b"title=It+broke&description=All&addedBy=mia%40customer.example",
        b"<ticket/>",
    ],
    ids=lambda content: repr(content[:24]),
)
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_a_body_that_is_not_a_ticket_is_refused(desk: Desk, content: bytes, media_type: str) -> None:
    answer = await post(desk, content, **{"Content-Type": media_type})

    assert answer.status_code in ({400, 422} if media_type == "application/json" or not content else {415})


async def test_a_body_of_the_wrong_type_is_refused_even_when_it_would_parse(desk: Desk) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense", "application/"):
        answer = await post(desk, json.dumps(GOOD).encode(), **{"Content-Type": media_type})

        assert answer.status_code == 415, media_type


FILTERS = [
    "adminEmail", "customerEmail", "status", "priority", "createdAfter", "createdBefore", "updatedAfter", "unassigned",
    "sort", "include", "limit", "cursor",
]  # fmt: skip
QUERY = st.lists(st.tuples(st.sampled_from(FILTERS) | TEXT, TEXT | NUMBER.map(str)), max_size=4)


def percent_encode(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@tries
@given(query=QUERY)
async def test_any_filter_can_have_any_value(desk: Desk, query: list[tuple[str, str]]) -> None:
    sent = "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in query)
    for path in ("/tickets", "/notifications", f"/tickets/{uuid4()}/history"):
        assert_success_or_problem(await desk.admin.get(f"{path}?{sent}"))


@tries
@given(query=st.binary(max_size=60))
async def test_any_bytes_can_be_a_query(desk: Desk, query: bytes) -> None:
    assert_success_or_problem(await desk.admin.get(f"/tickets?{quote(query, safe='%&=+;[]')}"))


@pytest.mark.parametrize(
    "query",
    [
        "createdAfter=0000-01-01T00:00:00Z",
        "createdAfter=9999-12-31T23:59:59-23:59",
        "createdBefore=0001-01-01T00:00:00%2B23:59",
        "createdAfter=1e400",
        "createdAfter=" + "9" * 400,
        "updatedAfter=2026-02-30T00:00:00Z",
        "createdAfter=2026-01-01T00:00:00",
        "limit=" + "9" * 5_000,
        "limit=0",
        "limit=1.5",
        "limit=NaN",
        "unassigned=perhaps",
        "status=open",
        "customerEmail=%00%40x.test",
        "cursor=" + "A" * 1_000,
        "cursor=%00",
        "cursor=" + quote("é" * 20),
        "&".join("status=OPEN" for _ in range(21)),
        "limit=1&limit=2&colour=red",
        "sort=created_at;DROP TABLE tickets",
    ],
    ids=lambda query: query[:40],
)
async def test_an_invalid_filter_is_refused(desk: Desk, query: str) -> None:
    answer = await desk.admin.get(f"/tickets?{query}")

    assert_success_or_problem(answer)
    assert answer.status_code == 422


@tries
@given(text=TEXT.filter(lambda text: "/" not in text))
async def test_any_text_can_be_an_id(desk: Desk, text: str) -> None:
    for template in ("/tickets/{}", "/tickets/{}/history", "/tickets/{}/schedule", "/notifications/{}"):
        url = f"http://tessera.test{template.format(percent_encode(text))}"
        answer = await desk.api.http.get(url, headers=desk.admin.headers)

        if text not in {"", ".", ".."}:
            assert answer.status_code in {404, 422}
        if answer.status_code != 308:  # without an id, the address ends in a slash
            assert_success_or_problem(answer)


HEADERS = ["Authorization", "X-Org-Secret", "If-Match", "X-Request-Id", "Content-Type", "Accept", "Origin", "Cookie"]
HEADER_VALUE = (
    st.binary(max_size=60)
    | st.sampled_from([b"Bearer " + part for part in (b"", b"a.b.c", b"e30.e30.", b"." * 40, b"\xff", b"x" * 9_000)])
    | st.sampled_from([b'"', b'""', b'W/"1"', b"*", b'"1", "2"', b'"' * 500, b"1" * 40, b'"\xff"', b'"1" "2"'])
)


@tries
@given(sent=st.dictionaries(st.sampled_from(HEADERS), HEADER_VALUE, max_size=4))
async def test_any_header_can_have_any_value(desk: Desk, sent: dict[str, bytes]) -> None:
    ticket = await find_or_open_ticket(desk)
    ours: dict[str, Any] = {**desk.admin.headers, **JSON_TYPE}
    headers = [(name.encode(), value) for name, value in ({n: v.encode() for n, v in ours.items()} | sent).items()]
    for request in (
        httpx.Request("GET", "http://tessera.test/org", headers=headers),
        httpx.Request(
            "PATCH", f"http://tessera.test/tickets/{ticket}", headers=headers, content=b'{"priority": "LOW"}'
        ),
        httpx.Request("POST", "http://tessera.test/tickets", headers=headers, content=json.dumps(GOOD).encode()),
    ):
        answer = await desk.api.http.send(request)

        assert_success_or_problem(answer)
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", answer.headers["x-request-id"])


async def find_or_open_ticket(desk: Desk) -> str:
    items = (await desk.admin.get("/tickets", params={"limit": 1})).json()["items"]
    ticket_id: str = items[0]["id"] if items else (await desk.open())["id"]
    return ticket_id


async def test_many_or_large_headers_get_a_response(desk: Desk) -> None:
    for headers, status in (
        ([(f"x-{n}".encode(), b"1") for n in range(200)], 431),
        ([(b"x-large", b"x" * 40_000)], 431),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], 401),
        ([(b"x-org-secret", desk.secret.encode()), (b"x-org-secret", b"no")], 200),
    ):
        answer = await desk.api.http.send(httpx.Request("GET", "http://tessera.test/org", headers=headers))

        assert answer.status_code == status
        assert_success_or_problem(answer)


@pytest.mark.parametrize("query", ["customerEmail=%ED%A0%80@x.test", "status=%FF", "%C3=1"])
async def test_a_query_that_is_not_utf_8_is_refused(desk: Desk, query: str) -> None:
    answer = await desk.admin.get(f"/tickets?{query}")

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"

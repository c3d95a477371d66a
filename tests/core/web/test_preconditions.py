"""Conditional requests: `If-Match` on changes, and `If-None-Match` on reads."""

from __future__ import annotations

import pytest

from app.core.errors import VersionConflict
from app.core.web.preconditions import check_form, check_if_match, is_unmodified, make_etag
from tests.organisation_client import Desk
from tests.problems import assert_problem

MALFORMED = ["", "3", '"3', '3"', '"3" "4"', 'w/"3"', "*, *", '"3"; "4"', '"3",x', "'3'", '"' * 999]


def test_a_version_is_written_in_quotes() -> None:
    assert make_etag(3) == '"3"'
    check_if_match(make_etag(3), 3)


class TestIfMatch:
    @pytest.mark.parametrize(
        "header",
        [None, "*", ' "*" , "3"', '"3"', ' "3" ', '"1", "3"', '"1","2" ,W/"9", "3"', " * ", 'W/"3"', '"4", W/"3"'],
    )
    def test_the_current_version_is_accepted_also_if_the_tag_is_weak(self, header: str | None) -> None:
        check_if_match(header, 3)

    @pytest.mark.parametrize("header", ['"2"', 'W/"2"', '"1", "2"', '"03"', '"3 "', '""', '"*"', 'W/"4", "2"'])
    def test_another_version_is_a_conflict(self, header: str) -> None:
        with pytest.raises(VersionConflict):
            check_if_match(header, 3)

    @pytest.mark.parametrize("header", MALFORMED)
    def test_a_malformed_header_is_refused(self, header: str) -> None:
        with pytest.raises(ValueError, match="entity tag"):
            check_form(header)

    @pytest.mark.parametrize(
        ("header", "status", "code"), [('"0"', 412, "version_conflict"), ("x", 422, "invalid_input")]
    )
    async def test_a_refused_change_is_not_made(self, desk: Desk, header: str, status: int, code: str) -> None:
        ticket = await desk.open()
        answer = await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": "New"}, **{"If-Match": header})
        assert_problem(answer, status, code)
        assert (await desk.read(ticket))["title"] == ticket["title"]

    async def test_a_change_with_a_weakened_tag_is_made(self, desk: Desk) -> None:
        ticket = await desk.open()
        answer = await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": "New"}, **{"If-Match": 'W/"1"'})
        assert (answer.status_code, answer.json()["title"]) == (200, "New")


class TestIfNoneMatch:
    @pytest.mark.parametrize("header", ["*", '"3"', 'W/"3"', '"1", W/"3"'])
    def test_the_current_version_is_unmodified(self, header: str) -> None:
        assert is_unmodified(header, make_etag(3))

    @pytest.mark.parametrize("header", [None, '"2"', 'W/"4"', '"33"', *MALFORMED])
    def test_any_other_header_is_ignored(self, header: str | None) -> None:
        assert not is_unmodified(header, make_etag(3))

    async def test_a_ticket_is_not_sent_again_until_it_changes(self, desk: Desk) -> None:
        ticket = await desk.open()
        path, headers = (
            f"/tickets/{ticket['id']}",
            {**desk.admin.headers, "If-None-Match": make_etag(ticket["version"])},
        )

        same = await desk.api.http.get(path, headers=headers)
        await desk.respond(ticket)
        changed = await desk.api.http.get(path, headers=headers)

        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
        assert (changed.status_code, changed.json()["status"]) == (200, "RESPONDED")

    async def test_the_ticket_of_another_organisation_is_still_a_404(self, desk: Desk) -> None:
        path = "/tickets/0190b8e5-7a3c-7d1e-9f42-3b6a5c8d1e20"
        answer = await desk.api.http.get(path, headers={**desk.admin.headers, "If-None-Match": "*"})
        assert_problem(answer, 404, "ticket_not_found")

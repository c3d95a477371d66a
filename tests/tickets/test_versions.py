"""ETag and If-Match: a change that was based on another version is refused."""

from __future__ import annotations

import asyncio

import pytest

from tests.desks import JSON, Desk

CHANGES = [
    ("POST", "/change_status", {"status": "IN_PROGRESS"}, 200),
    ("POST", "/respond", {"message": "Mended."}, 201),
    ("POST", "", {"title": "Another"}, 200),
    ("PATCH", "", {"title": "Another"}, 200),
]
every_change = pytest.mark.parametrize(("method", "rest", "body", "success"), CHANGES)


async def call(desk: Desk, method: str, ticket: JSON, rest: str, body: JSON, if_match: str | None) -> tuple[int, JSON]:
    headers = desk.admin.headers | ({"If-Match": if_match} if if_match is not None else {})
    answer = await desk.api.http.request(method, f"/tickets/{ticket['id']}{rest}", json=body, headers=headers)
    content: JSON = answer.json()
    if answer.is_success:
        version = content["ticket"]["version"] if "ticket" in content else content["version"]
        assert answer.headers["etag"] == f'"{version}"'
    return answer.status_code, content


@every_change
async def test_a_stale_version_is_refused_and_nothing_changes(
    desk: Desk, method: str, rest: str, body: JSON, success: int
) -> None:
    ticket = await desk.open()
    await desk.admin.patch(f"/tickets/{ticket['id']}", {"priority": "HIGH"})
    before, history = await desk.read(ticket), await desk.history(ticket)

    for stale in ('"1"', '"3"', 'W/"2"', '"1", "7"', '""', '"02"'):
        status, problem = await call(desk, method, ticket, rest, body, stale)
        assert (status, problem["code"]) == (412, "version_conflict"), stale

    assert await desk.read(ticket) == before
    assert await desk.history(ticket) == history
    assert (await call(desk, method, ticket, rest, body, '"2"'))[0] == success


@every_change
@pytest.mark.parametrize("if_match", ['"1"', "*", '"7", "1"', None])
async def test_the_present_version_lets_a_change_through(
    desk: Desk, method: str, rest: str, body: JSON, success: int, if_match: str | None
) -> None:
    ticket = await desk.open()

    assert (await call(desk, method, ticket, rest, body, if_match))[0] == success

    assert (await desk.read(ticket))["version"] == 2


@every_change
async def test_what_is_no_entity_tag_is_bad_input(
    desk: Desk, method: str, rest: str, body: JSON, success: int
) -> None:
    ticket = await desk.open()

    for nonsense in ("1", "", '"1', "abc", '"1" "2"'):
        status, _ = await call(desk, method, ticket, rest, body, nonsense)
        assert (status, nonsense) == (422, nonsense)
    assert (await desk.read(ticket))["version"] == 1
    assert (await call(desk, method, ticket, rest, body, '"1"'))[0] == success


async def test_a_stale_version_is_refused_even_where_nothing_would_change(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.admin.patch(f"/tickets/{ticket['id']}", {"priority": "HIGH"})

    status, problem = await call(desk, "PATCH", ticket, "", {"priority": "HIGH"}, '"1"')

    assert (status, problem["code"]) == (412, "version_conflict")


async def test_of_two_changes_of_one_version_one_gets_through(desk: Desk) -> None:
    ticket = await desk.open()

    for version in range(1, 6):
        answers = await asyncio.gather(
            *(
                desk.admin.patch(
                    f"/tickets/{ticket['id']}", {"title": f"Title {version} {place}"}, **{"If-Match": f'"{version}"'}
                )
                for place in range(4)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
        winner = next(answer.json()["title"] for answer in answers if answer.is_success)
        assert (await desk.read(ticket))["title"] == winner


async def test_the_etag_of_a_read_is_the_version_of_the_ticket(desk: Desk) -> None:
    ticket = await desk.open()
    for version in range(1, 4):
        answer = await desk.admin.get(f"/tickets/{ticket['id']}")
        assert (answer.headers["etag"], answer.json()["version"]) == (f'"{version}"', version)
        await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": f"Title {version}"})

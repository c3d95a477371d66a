"""ETag and If-Match: a change that is based on another version is refused."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from tests.organisation_client import JSON, Desk


class Change(NamedTuple):
    """A request that changes a ticket, and its HTTP status on success."""

    method: str
    path_suffix: str
    body: JSON
    success: int = 200


CHANGES = [
    Change("POST", "/change_status", {"status": "IN_PROGRESS"}),
    Change("POST", "/respond", {"message": "Fixed."}, 201),
    Change("POST", "/accept", {}),
    Change("POST", "", {"title": "Another"}),
    Change("PATCH", "", {"title": "Another"}),
]
every_change = pytest.mark.parametrize("change", CHANGES)


async def call(desk: Desk, change: Change, ticket: JSON, if_match: str | None) -> tuple[int, JSON]:
    headers = desk.admin.headers | ({"If-Match": if_match} if if_match is not None else {})
    path = f"/tickets/{ticket['id']}{change.path_suffix}"
    answer = await desk.api.http.request(change.method, path, json=change.body, headers=headers)
    content: JSON = answer.json()
    if answer.is_success:
        version = content["ticket"]["version"] if "ticket" in content else content["version"]
        assert answer.headers["etag"] == f'"{version}"'
    return answer.status_code, content


@every_change
async def test_a_stale_version_is_refused_and_changes_nothing(desk: Desk, change: Change) -> None:
    ticket = await desk.open()
    await desk.admin.patch(f"/tickets/{ticket['id']}", {"priority": "HIGH"})
    before, history = await desk.read(ticket), await desk.history(ticket)

    for stale in ('"1"', '"3"', 'W/"1"', '"1", "7"', '""', '"02"'):
        status, problem = await call(desk, change, ticket, stale)
        assert (status, problem["code"]) == (412, "version_conflict"), stale

    assert await desk.read(ticket) == before
    assert await desk.history(ticket) == history
    assert (await call(desk, change, ticket, '"2"'))[0] == change.success


@every_change
@pytest.mark.parametrize("if_match", ['"1"', 'W/"1"', "*", '"7", "1"', None])
async def test_a_change_of_the_current_version_succeeds(desk: Desk, change: Change, if_match: str | None) -> None:
    ticket = await desk.open()

    assert (await call(desk, change, ticket, if_match))[0] == change.success

    assert (await desk.read(ticket))["version"] == 2


@every_change
async def test_an_invalid_entity_tag_is_refused(desk: Desk, change: Change) -> None:
    ticket = await desk.open()

    for nonsense in ("1", "", '"1', "abc", '"1" "2"'):
        status, _ = await call(desk, change, ticket, nonsense)
        assert (status, nonsense) == (422, nonsense)
    assert (await desk.read(ticket))["version"] == 1
    assert (await call(desk, change, ticket, '"1"'))[0] == change.success


async def test_a_stale_version_is_refused_even_if_nothing_would_change(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.admin.patch(f"/tickets/{ticket['id']}", {"priority": "HIGH"})

    status, problem = await call(desk, Change("PATCH", "", {"priority": "HIGH"}), ticket, '"1"')

    assert (status, problem["code"]) == (412, "version_conflict")


async def test_only_one_of_several_concurrent_changes_of_a_version_succeeds(desk: Desk) -> None:
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


async def test_the_etag_is_the_version_of_the_ticket(desk: Desk) -> None:
    ticket = await desk.open()
    for version in range(1, 4):
        answer = await desk.admin.get(f"/tickets/{ticket['id']}")
        assert (answer.headers["etag"], answer.json()["version"]) == (f'"{version}"', version)
        await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": f"Title {version}"})

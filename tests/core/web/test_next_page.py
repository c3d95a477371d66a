"""The `Link` header from a page of a list to the next one, for every list of the API."""

from __future__ import annotations

from app import wiring
from app.core.outbox import relay
from tests.docs.openapi import DOCUMENT, OPERATIONS
from tests.organisation_client import PASSWORD, Api, Desk

LISTS = [
    operation.path
    for operation in OPERATIONS
    if any(parameter["name"] == "cursor" for parameter in operation.definition.get("parameters", ()))
]


async def test_following_the_links_reads_the_whole_list(api: Api, desk: Desk) -> None:
    ticket = await desk.open()
    await desk.open()
    await desk.respond(ticket)
    await desk.another_admin()
    await desk.open(requester={"email": "leo@customer.example"})
    for _ in range(2):
        body = {"org": desk.domain, "email": desk.admin.email, "password": PASSWORD}
        signed_in = await desk.admin.post("/auth/signin", body)
        assert signed_in.status_code == 200, signed_in.text
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)

    assert len(LISTS) == 8
    for template in LISTS:
        path = template.format(id=ticket["id"])
        whole = (await desk.admin.get(path)).json()["items"]
        assert len(whole) >= 2, path
        found, following, pages = [], f"{path}?limit=1", 0
        while following:
            answer = await api.http.get(following, headers=desk.admin.headers)
            assert answer.status_code == 200, answer.text
            found += answer.json()["items"]
            assert ("next" in answer.links) == (answer.json()["nextCursor"] is not None)
            following = answer.links.get("next", {}).get("url", "")
            pages += 1
        assert found == whole, path
        assert pages == len(whole), path


async def test_the_link_keeps_the_filters(api: Api, desk: Desk) -> None:
    for priority in ("LOW", "HIGH", "LOW", "MEDIUM"):
        await desk.open(priority=priority)
    first = await desk.admin.get("/tickets?priority=LOW&priority=HIGH&limit=2&include=total&sort=createdAt")
    second = await api.http.get(first.links["next"]["url"], headers=desk.admin.headers)

    assert [item["number"] for item in first.json()["items"] + second.json()["items"]] == [1, 2, 3]
    assert second.json()["total"] == 3
    assert "link" not in second.headers


def test_every_list_documents_the_link() -> None:
    for path in LISTS:
        assert "Link" in DOCUMENT["paths"][path]["get"]["responses"]["200"]["headers"], path

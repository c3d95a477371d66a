"""The operations on the notification log."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from dirty_equals import IsStr

from app import wiring
from app.core.database.pool import Database
from app.core.outbox import relay
from app.notifications import mails
from app.notifications.mails import MailDraft
from tests.organisation_client import JSON, Api, Desk, create_desk

MOMENT = IsStr(regex=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


async def queue(desk: Desk, *subjects: str, error: str | None = None) -> None:
    """Queue mails, one after the other."""
    for subject in subjects:
        async with desk.database.session(desk.id) as db:
            draft = MailDraft(
                recipient="mia@customer.example", subject=subject, text="Text.", html="<p>Text.</p>", error=error
            )
            await mails.queue(db, desk.id, [draft])


async def read_log(desk: Desk, **params: Any) -> JSON:
    answer = await desk.admin.get("/notifications", params=params)
    assert answer.status_code == 200, answer.text
    content: JSON = answer.json()
    return content


async def subjects(desk: Desk, **params: Any) -> list[str]:
    return [item["subject"] for item in (await read_log(desk, **params))["items"]]


async def test_the_log_lists_mails_with_their_status(desk: Desk) -> None:
    ticket = await desk.open()
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)

    assert await read_log(desk) == {
        "items": [
            {
                "id": IsStr(regex=r"[0-9a-f-]{36}"),
                "channel": "EMAIL",
                "to": desk.admin.email,
                "subject": f"[{ticket['reference']}] It broke",
                "status": "QUEUED",
                "attempts": 0,
                "lastError": None,
                "ticketId": ticket["id"],
                "createdAt": MOMENT,
                "sentAt": None,
            }
        ],
        "nextCursor": None,
    }


async def test_a_single_notification_has_its_body(desk: Desk) -> None:
    await queue(desk, "One")
    (item,) = (await read_log(desk))["items"]

    answer = await desk.admin.get(f"/notifications/{item['id']}")

    assert (answer.status_code, answer.json()) == (200, item | {"body": "Text.", "bodyHtml": "<p>Text.</p>"})


async def test_a_mail_that_could_not_be_written_shows_the_reason(desk: Desk) -> None:
    await queue(desk, "One", error="The template is broken.")

    (item,) = (await read_log(desk))["items"]

    assert (item["status"], item["attempts"], item["lastError"]) == ("FAILED", 0, "The template is broken.")


async def test_the_log_is_filtered_by_status_and_ticket(desk: Desk) -> None:
    first, second = await desk.open(), await desk.open()
    await relay.catch_up(desk.database, desk.id, wiring.SUBSCRIBERS)
    await queue(desk, "Failed", error="No.")

    one, two = (f"[{ticket['reference']}] It broke" for ticket in (first, second))
    assert await subjects(desk, status="FAILED") == ["Failed"]
    assert set(await subjects(desk, status="QUEUED")) == {one, two}
    assert await subjects(desk, status="SENT") == []
    assert len(await subjects(desk, status=["FAILED", "QUEUED"])) == 3
    assert await subjects(desk, ticketId=first["id"]) == [one]
    assert set(await subjects(desk, ticketId=[first["id"], second["id"]])) == {one, two}
    assert await subjects(desk, ticketId=second["id"], status="FAILED") == []
    assert await subjects(desk, ticketId=str(uuid4())) == []


@pytest.mark.parametrize("limit", [1, 2, 6, 7, 8])
async def test_pages_stay_complete_while_mails_are_added(desk: Desk, limit: int) -> None:
    await queue(desk, *(f"Mail {place}" for place in range(7)))
    found: list[str] = []
    cursor: str | None = None

    while True:
        page = await read_log(desk, limit=limit, **({"cursor": cursor} if cursor else {}))
        found += [item["subject"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        await queue(desk, "A newer one")

    assert found == [f"Mail {place}" for place in range(6, -1, -1)]


async def test_mails_with_the_same_time_are_neither_lost_nor_repeated(desk: Desk) -> None:
    drafts = [MailDraft(recipient="mia@customer.example", subject=f"Mail {place}") for place in range(5)]
    async with desk.database.session(desk.id) as db:
        await mails.queue(db, desk.id, drafts)

    first = await read_log(desk, limit=3)
    second = await read_log(desk, limit=3, cursor=first["nextCursor"])

    shown = [item["subject"] for item in first["items"] + second["items"]]
    assert sorted(shown) == [f"Mail {place}" for place in range(5)]
    assert second["nextCursor"] is None


async def test_the_total_is_counted_on_request(desk: Desk) -> None:
    await queue(desk, "One", "Two")
    await queue(desk, "Three", error="No.")

    assert (await read_log(desk, include="total", limit=1))["total"] == 3
    assert (await read_log(desk, include="total", status="FAILED"))["total"] == 1
    assert (await read_log(desk, include="total", status="SENT")) == {"items": [], "nextCursor": None, "total": 0}
    assert "total" not in await read_log(desk)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"status": "sent"}, "status.0"),
        ({"ticketId": "42"}, "ticketId.0"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"include": "body"}, "include"),
        ({"cursor": "x"}, "cursor"),
        ({"to": "mia@customer.example"}, "to"),
        ({"ticket_id": str(uuid4())}, "ticket_id"),
    ],
)
async def test_a_bad_or_unknown_parameter_is_named(desk: Desk, params: dict[str, Any], field: str) -> None:
    answer = await desk.admin.get("/notifications", params=params)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_cursor_belongs_to_its_filters(desk: Desk) -> None:
    await queue(desk, "One", "Two")
    cursor = (await read_log(desk, limit=1))["nextCursor"]

    answer = await desk.admin.get("/notifications", params={"cursor": cursor, "status": "QUEUED"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_a_notification_of_another_organisation_does_not_exist(desk: Desk, api: Api, database: Database) -> None:
    stranger = await create_desk(api, database)
    await queue(desk, "Ours")
    (ours,) = (await read_log(desk))["items"]

    foreign_response = await stranger.admin.get(f"/notifications/{ours['id']}")
    unknown = await stranger.admin.get(f"/notifications/{uuid4()}")

    assert (foreign_response.status_code, foreign_response.json()["code"]) == (404, "notification_not_found")
    assert {**foreign_response.json(), "requestId": ""} == {**unknown.json(), "requestId": ""}
    assert (await read_log(stranger))["items"] == []
    assert (await read_log(stranger, include="total"))["total"] == 0


async def test_only_users_can_read_the_log(desk: Desk) -> None:
    await queue(desk, "One")
    (item,) = (await read_log(desk))["items"]

    for path in ("/notifications", f"/notifications/{item['id']}"):
        anonymous = await desk.api.http.get(path)
        assert (anonymous.status_code, anonymous.json()["code"]) == (401, "missing_credential")
        assert "www-authenticate" in anonymous.headers

        product = await desk.api.http.get(path, headers={"X-Org-Secret": desk.secret})
        assert (product.status_code, product.json()["code"]) == (403, "access_token_required")

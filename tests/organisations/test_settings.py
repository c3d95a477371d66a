"""Read and change an organisation's settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields


@pytest.fixture
async def stranger(api: Api, database: Database) -> Desk:
    """Another organisation."""
    return await create_desk(api, database, name="Rival")


async def read_settings(desk: Desk) -> dict[str, Any]:
    answer = await desk.admin.get("/org")
    assert answer.status_code == 200, answer.text
    return {name: value for name, value in answer.json().items() if name != "now"}


async def list_changes(desk: Desk) -> list[dict[str, Any]]:
    """List the data of the events about changed settings."""
    conditions = (EventRow.org_id == desk.id, EventRow.type == "organisation.updated")
    async with desk.database.session(desk.id) as db:
        return list((await db.scalars(select(EventRow.data).where(*conditions).order_by(EventRow.seq))).all())


async def test_products_and_admins_read_the_same_settings(api: Api, desk: Desk) -> None:
    by_secret = (await api.http.get("/org", headers={"X-Org-Secret": desk.secret})).json()
    by_token = (await desk.admin.get("/org")).json()

    assert by_secret.keys() == by_token.keys()
    assert by_secret | {"now": 0} == by_token | {"now": 0}
    assert {name: by_token[name] for name in ("id", "name", "domain", "sandbox", "autoCloseDays", "timezone")} == {
        "id": str(desk.id), "name": "Growfin", "domain": desk.domain, "sandbox": True, "autoCloseDays": 30,
        "timezone": "UTC",
    }  # fmt: skip
    assert (by_token["supportEmail"], by_token["appUrl"], by_token["require2fa"]) == (None, None, False)
    assert abs(datetime.fromisoformat(by_token["now"]) - datetime.now(UTC)) < timedelta(seconds=30)


async def test_a_credential_is_required_to_read_settings(api: Api) -> None:
    assert_problem(await api.http.get("/org"), 401, "missing_credential")
    assert_problem(await api.http.get("/org", headers={"Authorization": "Basic YTpi"}), 401, "missing_credential")


async def test_changed_settings_are_visible_immediately(api: Api, desk: Desk) -> None:
    answer = await desk.admin.patch(
        "/org",
        {
            "name": " Growfin Two ", "autoCloseDays": 7, "timezone": "Europe/Berlin",
            "supportEmail": "Help@Growfin.com", "appUrl": "https://desk.growfin.com/",
        },
    )  # fmt: skip
    assert answer.status_code == 200
    expected = {
        "name": "Growfin Two", "autoCloseDays": 7, "timezone": "Europe/Berlin", "supportEmail": "help@growfin.com",
        "appUrl": "https://desk.growfin.com",
    }  # fmt: skip
    assert expected.items() <= answer.json().items()
    by_secret = await api.http.get("/org", headers={"X-Org-Secret": desk.secret})
    assert expected.items() <= by_secret.json().items()
    assert expected.items() <= (await read_settings(desk)).items()


async def test_a_changed_setting_is_not_served_from_a_cache(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # settings of sandboxes are never cached
    await desk.open()
    assert (await desk.admin.patch("/org", {"autoCloseDays": 3})).status_code == 200
    ticket = (await desk.respond(await desk.open()))["ticket"]
    delay = datetime.fromisoformat(ticket["autoCloseAt"]) - datetime.fromisoformat(ticket["respondedAt"])
    assert delay == timedelta(days=3)


async def test_the_history_contains_old_and_new_values(desk: Desk) -> None:
    await desk.admin.patch("/org", {"autoCloseDays": 7, "name": "Growfin"})
    await desk.admin.patch("/org", {"require2fa": True, "appUrl": "http://localhost:3000"})
    assert await list_changes(desk) == [
        {"changes": {"autoCloseDays": {"from": 30, "to": 7}}},
        {
            "changes": {
                "require2fa": {"from": False, "to": True},
                "appUrl": {"from": None, "to": "http://localhost:3000"},
            }
        },
    ]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "Growfin", "autoCloseDays": 30, "timezone": "UTC", "supportEmail": None},
        {"appUrl": None, "require2fa": False},
    ],
)
async def test_values_that_are_already_set_change_nothing(desk: Desk, values: dict[str, object]) -> None:
    before = await read_settings(desk)
    answer = await desk.admin.patch("/org", values)
    assert answer.status_code == 200
    assert await read_settings(desk) == before
    assert await list_changes(desk) == []


async def test_the_support_address_can_be_removed(desk: Desk) -> None:
    await desk.admin.patch("/org", {"supportEmail": "help@growfin.com"})
    assert (await desk.admin.patch("/org", {"supportEmail": None})).json()["supportEmail"] is None


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("https://desk.growfin.com", "https://desk.growfin.com"),
        ("\ufeffhttps://desk.growfin.com\r\n", "https://desk.growfin.com"),
        (" HTTPS://Desk.Growfin.COM/App/ ", "https://desk.growfin.com/App"),
        ("https://growfin.com:8443/a/b//", "https://growfin.com:8443/a/b"),
        ("https://192.0.2.7/a%20b/@me", "https://192.0.2.7/a%20b/@me"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ("http://localhost", "http://localhost"),
        ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
async def test_the_app_url_is_normalised_and_can_be_removed(desk: Desk, sent: str, stored: str) -> None:
    assert (await desk.admin.patch("/org", {"appUrl": sent})).json()["appUrl"] == stored
    assert (await read_settings(desk))["appUrl"] == stored
    assert (await desk.admin.patch("/org", {"appUrl": None})).json()["appUrl"] is None


@pytest.mark.parametrize(
    "invalid_url",
    [
        "", "desk.growfin.com", "//desk.growfin.com", "/app", "https://", "https:///app", "https:desk.growfin.com",
        "http://desk.growfin.com", "http://localhost.evil.test", "http://0.0.0.0",
        "ftp://desk.growfin.com", "javascript:alert(1)", "javascript://desk.growfin.com/%0aalert(1)",
        "data:text/html,x", "https://ada:pw@desk.growfin.com", "https://good.test@evil.test",
        "https://good.test\\@evil.test", "https://desk.growfin.com?next=1", "https://desk.growfin.com?",
        "https://desk.growfin.com#token=1", "https://desk.growfin.com#", "https://desk growfin.com",
        "https://desk.growfin.com/a b", "https://desk.growfin.com/\ta", "https://desk.growfin.com/a\nb",
        "https://desk.growfin.com/<script>", 'https://desk.growfin.com/"', "https://desk.growfin.com:0",
        "https://desk.growfin.com:65536", "https://desk.growfin.com:", "https://desk..growfin.com",
        "https://-desk.growfin.com", "https://[::1", "https://[:::1]", "https://bücher.test", "https://ex%61mple.test",
        "https://desk.growfin.com/" + "a" * 200, 5, ["https://desk.growfin.com"],
    ],
)  # fmt: skip
async def test_an_invalid_app_url_is_refused(desk: Desk, invalid_url: object) -> None:
    await desk.admin.patch("/org", {"appUrl": "https://desk.growfin.com"})
    assert read_invalid_fields(await desk.admin.patch("/org", {"appUrl": invalid_url})) == {"appUrl"}
    assert (await read_settings(desk))["appUrl"] == "https://desk.growfin.com"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"require2fa": "yes"}, "require2fa"),
        ({"require2fa": 1}, "require2fa"),
        ({"require2fa": None}, "require2fa"),
        ({"require_2fa": True}, "require_2fa"),
        ({"require2Fa": True}, "require2Fa"),
        ({"app_url": "https://desk.growfin.com"}, "app_url"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "a\x07b"}, "name"),
        ({"name": "Win at evil.com"}, "name"),
        ({"ticketPath": "tickets/{id}"}, "ticketPath"),
        ({"ticketPath": "/tickets"}, "ticketPath"),
        ({"ticketPath": "/tickets/{number}{id}"}, "ticketPath"),
        ({"ticketPath": "/<{id}"}, "ticketPath"),
        ({"ticketPath": "//evil.example/{id}"}, "ticketPath"),
        ({"ticketPath": "/../..//evil.example/{id}"}, "ticketPath"),
        ({"ticketPath": "/t/../{id}"}, "ticketPath"),
        ({"ticketPath": "/t/%2E%2e/{id}"}, "ticketPath"),
        ({"ticketPath": "/%2F/evil.example/{id}"}, "ticketPath"),
        ({"ticketPath": "/./{id}"}, "ticketPath"),
        ({"ticketPath": "/{id}/.."}, "ticketPath"),
        ({"ticketPath": "/\\evil.example/{id}"}, "ticketPath"),
        ({"ticketPath": "/{id}" + "a" * 200}, "ticketPath"),
        ({"ticketPath": None}, "ticketPath"),
        ({"domain": "growfin.com"}, "domain"),
        ({"domainVerifiedAt": None}, "domainVerifiedAt"),
        ({"autoCloseDays": 0}, "autoCloseDays"),
        ({"autoCloseDays": 366}, "autoCloseDays"),
        ({"autoCloseDays": "30"}, "autoCloseDays"),
        ({"autoCloseDays": 1.5}, "autoCloseDays"),
        ({"autoCloseDays": True}, "autoCloseDays"),
        ({"autoCloseDays": None}, "autoCloseDays"),
        ({"autoCloseDays": 2**63}, "autoCloseDays"),
        ({"autoCloseDays": 2**80}, "autoCloseDays"),
        ({"timezone": "Berlin"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": None}, "timezone"),
        ({"supportEmail": "no address"}, "supportEmail"),
        ({"supportEmail": "help@Erased.invalid"}, "supportEmail"),
        ({"supportEmail": "help@growfin.com\nBcc: all@growfin.com"}, "supportEmail"),
        ({"domain": "other.test"}, "domain"),
        ({"sandbox": False}, "sandbox"),
        ({"status": "SUSPENDED"}, "status"),
        ({"id": "0190b8e5-0000-7000-8000-000000000001"}, "id"),
        ({"auto_close_days": 3}, "auto_close_days"),
        ({"name": "Good", "nonsense": 1}, "nonsense"),
    ],
)
async def test_an_invalid_value_is_reported_and_nothing_changes(
    desk: Desk, change: dict[str, object], wrong: str
) -> None:
    before = await read_settings(desk)
    assert read_invalid_fields(await desk.admin.patch("/org", change)) == {wrong}
    assert await read_settings(desk) == before
    assert await list_changes(desk) == []


async def test_products_cannot_change_settings(api: Api, desk: Desk) -> None:
    before = await read_settings(desk)
    answer = await api.http.patch("/org", json={"name": "Mine"}, headers={"X-Org-Secret": desk.secret})
    assert_problem(answer, 403, "access_token_required")
    assert await read_settings(desk) == before


async def test_organisations_do_not_read_or_change_each_others_settings(desk: Desk, stranger: Desk) -> None:
    before = await read_settings(desk)
    assert (await read_settings(stranger))["id"] == str(stranger.id)
    assert (await stranger.admin.patch("/org", {"name": "Rival Two", "autoCloseDays": 1})).status_code == 200
    assert await read_settings(desk) == before
    assert await list_changes(desk) == []

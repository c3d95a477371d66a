"""Read and change an organisation's settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app import wiring
from app.access.user_permissions import RoleKind
from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.outbox.models import EventRow
from app.notifications.models import Mail
from app.organisations.models import Organisation
from tests.accounts.users_and_roles import add_user, add_user_with_permissions
from tests.authentication.account_state import age_session
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


# --- settings that carry trust ----------------------------------------------------------------------------------------

TRUSTED: list[dict[str, Any]] = [
    {"appUrl": "https://evil.example"},
    {"allowedOrigins": ["https://evil.example"]},
    {"supportEmail": "eve@evil.example"},
    {"require2fa": True},
]


@pytest.mark.parametrize("changes", TRUSTED)
async def test_the_permission_alone_does_not_allow_to_change_whom_to_trust(desk: Desk, changes: dict[str, Any]) -> None:
    engineer = await add_user_with_permissions(desk, "org:update", "org:view")
    before = await read_settings(desk)

    assert_problem(await engineer.patch("/org", {"autoCloseDays": 9, **changes}), 403, "admin_required")

    assert await read_settings(desk) == before
    assert (await engineer.patch("/org", {"autoCloseDays": 9, "ticketPath": "/t/{id}"})).status_code == 200


@pytest.mark.parametrize("changes", TRUSTED)
async def test_a_stolen_access_token_does_not_suffice_to_change_whom_to_trust(
    desk: Desk, changes: dict[str, Any]
) -> None:
    before = await read_settings(desk)
    await age_session(desk, desk.admin.session_id)
    assert_problem(await desk.admin.patch("/org", changes), 403, "reauthentication_required")
    assert await read_settings(desk) == before
    assert await list_changes(desk) == []


async def test_trusted_settings_can_be_sent_unchanged(desk: Desk) -> None:
    trusted = {
        "appUrl": "https://desk.growfin.com", "allowedOrigins": ["https://desk.growfin.com"], "require2fa": False,
        "supportEmail": "help@growfin.com",
    }  # fmt: skip
    assert (await desk.admin.patch("/org", trusted)).status_code == 200
    engineer = await add_user_with_permissions(desk, "org:update", "org:view")
    answer = await engineer.patch("/org", {**trusted, "appUrl": "https://Desk.Growfin.com/", "name": "Growfin Two"})
    assert (answer.status_code, answer.json()["name"]) == (200, "Growfin Two")


async def test_no_link_leads_to_an_origin_that_only_an_engineer_has_set(api: Api, desk: Desk) -> None:
    await desk.admin.patch("/org", {"appUrl": "https://desk.growfin.com"})
    engineer = await add_user_with_permissions(desk, "org:update", "org:view")
    await engineer.patch("/org", {"appUrl": "https://evil.example"})
    await api.http.post("/auth/password/forgot", json={"email": desk.admin.email, "org": desk.domain})

    await relay.relay_new_events(desk.database, wiring.SUBSCRIBERS)

    async with desk.database.session(desk.id) as db:
        found = list(await db.scalars(select(Mail.link).where(Mail.org_id == desk.id, Mail.link.is_not(None))))
    assert found == ["https://desk.growfin.com/reset-password"]


async def test_all_admins_are_mailed_who_changed_what_from_where(desk: Desk) -> None:
    other = await desk.another_admin("bo@growfin.test")
    await add_user(desk, RoleKind.ENGINEER)
    await desk.admin.patch("/org", {"timezone": "Europe/Berlin", "supportEmail": "help@growfin.com"})
    changes = {
        "appUrl": "https://desk.growfin.com",
        "require2fa": True,
        "supportEmail": "eve@evil.example",
        "name": "X",
    }

    answer = await desk.admin.patch("/org", changes, **{"User-Agent": "Firefox/1 <b>"})

    assert answer.status_code == 200
    async with desk.database.session(desk.id) as db:
        sent = list(await db.scalars(select(Mail).where(Mail.org_id == desk.id).order_by(Mail.id)))
    assert sorted(mail.recipient for mail in sent) == sorted([desk.admin.email, other.email] * 2)
    for mail in sent[2:]:
        assert mail.subject == "[X] A security setting was changed"
        assert (mail.reply_to, mail.author_id) == (None, desk.admin.id)
        for line in (
            "appUrl: none → https://desk.growfin.com",
            "require2fa: no → yes",
            "supportEmail: help@growfin.com → eve@evil.example",
            f"By: Ada Lovelace ({desk.admin.id})",
            "From: Firefox/1 <b>, ",
            "UTC+01:00",
        ):
            assert line in mail.body_text
        assert "name:" not in mail.body_text
        assert mail.body_html is not None
        assert "<b>" not in mail.body_html


async def test_harmless_settings_are_not_mailed(desk: Desk) -> None:
    await desk.admin.patch("/org", {"autoCloseDays": 9, "name": "Growfin Two", "ticketPath": "/t/{id}"})
    async with desk.database.session(desk.id) as db:
        assert list(await db.scalars(select(Mail).where(Mail.org_id == desk.id))) == []


@pytest.mark.parametrize("value", ["https://desk.growfin.com", None, "https://other.growfin.com"])
async def test_an_unconfirmed_app_url_is_settled_by_an_admin(desk: Desk, value: str | None) -> None:
    async with desk.database.session(desk.id) as db:
        values = {"unconfirmed_app_url": "https://desk.growfin.com"}
        await db.execute(update(Organisation).where(Organisation.id == desk.id).values(values))
    engineer = await add_user_with_permissions(desk, "org:update", "org:view")
    before = await read_settings(desk)
    assert (before["appUrl"], before["unconfirmedAppUrl"]) == (None, "https://desk.growfin.com")
    assert_problem(await engineer.patch("/org", {"appUrl": value}), 403, "admin_required")

    assert (await desk.admin.patch("/org", {"appUrl": value})).status_code == 200

    after = await read_settings(desk)
    assert (after["appUrl"], after["unconfirmedAppUrl"]) == (value, None)

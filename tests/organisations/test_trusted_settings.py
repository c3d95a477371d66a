"""Settings that carry trust: who may change them, and who learns of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, text, update

from app import wiring
from app.access.user_permissions import RoleKind
from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.outbox.models import EventRow
from app.notifications.mails import COPIES_PER_BATCH
from app.notifications.models import Mail
from app.organisations.models import Organisation
from tests.accounts.users_and_roles import add_user, add_user_with_permissions
from tests.authentication.account_state import age_session
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem
from tests.services import Start


async def read_settings(desk: Desk) -> dict[str, Any]:
    answer = await desk.admin.get("/org")
    assert answer.status_code == 200, answer.text
    return {name: value for name, value in answer.json().items() if name != "now"}


async def list_changes(desk: Desk) -> list[dict[str, Any]]:
    """List the data of the events about changed settings."""
    conditions = (EventRow.org_id == desk.id, EventRow.type == "organisation.updated")
    async with desk.database.session(desk.id) as db:
        return list((await db.scalars(select(EventRow.data).where(*conditions).order_by(EventRow.seq))).all())


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


async def test_an_admin_demoted_in_another_process_can_change_no_trusted_setting_any_more(
    start: Start, database: Database
) -> None:
    one, other = await start(), await start()
    desk = await create_desk(one.api, database, sandbox=False)  # users of sandboxes are not cached
    bo = await desk.another_admin()
    elsewhere = SignedInUser(bo.id, bo.email, other.at("192.0.2.7"), bo.headers, bo.session_id)
    assert (await elsewhere.get("/org")).status_code == 200, "cached"

    demoted = await desk.admin.patch(f"/users/{bo.id}", {"role": "ENGINEER"})

    assert demoted.status_code == 200, demoted.text
    assert_problem(await elsewhere.patch("/org", {"appUrl": "https://evil.example"}), 401, "invalid_token")
    assert_problem(await elsewhere.post("/org/domain/verify", {"method": "DNS"}), 401, "invalid_token")


async def test_no_admin_is_left_out_of_the_mails_however_many_there_are(desk: Desk) -> None:
    statement = """
        INSERT INTO users (org_id, id, first_name, last_name, email, role_kind, status, available, created_at)
        SELECT org_id, gen_random_uuid(), 'A', 'B', 'many' || n || '@growfin.test', 'ADMIN', 'ACTIVE', false, created_at
        FROM generate_series(1, :many) AS n, users WHERE org_id = :org
    """
    many = COPIES_PER_BATCH + 1
    async with desk.database.session(desk.id) as db:
        await db.execute(text(statement), {"org": desk.id, "many": many})

    assert (await desk.admin.patch("/org", {"appUrl": "https://desk.growfin.com"})).status_code == 200

    async with desk.database.session(desk.id) as db:
        of_desk = (Mail.org_id == desk.id, Mail.subject == "[Growfin] A security setting was changed")
        recipients = list(await db.scalars(select(Mail.recipient).where(*of_desk)))
    assert sorted(recipients) == sorted([desk.admin.email, *(f"many{n}@growfin.test" for n in range(1, many + 1))])

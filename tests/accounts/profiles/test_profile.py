"""What somebody says of themselves, which mails they want, and what they may do."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.permissions import Resource, RoleKind
from app.accounts.profiles.mail_kinds import MailKind
from app.core.database.pool import Database
from tests.accounts.crew import CUSTOMER, ENGINEER, a_role, events_about, ok, row_of, sign_in
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import refused, wrong_fields

ALL_WANTED = {"ticketAssigned": True, "ticketAnswered": True, "ticketClosingSoon": True, "signUpRequests": True}


async def profile(user: SignedInUser) -> dict[str, Any]:
    return ok(await user.get("/me"))


@pytest.mark.parametrize("role", [ENGINEER, CUSTOMER])
async def test_everybody_has_one(desk: Desk, role: RoleKind) -> None:
    user = await sign_in(desk, role)
    changes = {"bio": "I look after\npayments.", "timezone": "Europe/Berlin", "locale": "de-DE", "firstName": "Grete"}
    changed = ok(await user.patch("/me", changes))

    assert changes.items() <= changed.items()
    assert await profile(user) == changed
    assert (changed["id"], changed["role"]) == (str(user.id), role)


async def test_the_history_says_which_fields_were_changed_and_not_to_what(desk: Desk) -> None:
    user = await sign_in(desk)
    await user.patch("/me", {"bio": "Secret.", "locale": "en", "notifications": {"ticketAnswered": False}})
    fields = {"fields": ["bio", "locale", "notifications"]}
    assert await events_about(desk, user.id) == [("user.updated", fields)]


@pytest.mark.parametrize("field", ["bio", "timezone", "locale"])
async def test_null_takes_it_away_again(desk: Desk, field: str) -> None:
    user = await sign_in(desk)
    before = await profile(user)
    await user.patch("/me", {"bio": "Hello.", "timezone": "UTC", "locale": "en"})
    assert ok(await user.patch("/me", {field: None}))[field] is None
    ok(await user.patch("/me", {"bio": None, "timezone": None, "locale": None}))
    assert await profile(user) == before


@pytest.mark.parametrize("locale", ["en", "en-GB", "gsw", "zh-Hant", "zh-Hant-TW", "es-419", "sr-Latn-RS"])
async def test_a_locale_is_a_language_perhaps_with_script_and_region(desk: Desk, locale: str) -> None:
    assert ok(await desk.admin.patch("/me", {"locale": locale}))["locale"] == locale


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"bio": ""}, "bio"),
        ({"bio": "x" * 2001}, "bio"),
        ({"bio": "a\0b"}, "bio"),
        ({"bio": ["a"]}, "bio"),
        ({"timezone": "Berlin"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"locale": ""}, "locale"),
        ({"locale": "english"}, "locale"),
        ({"locale": "EN"}, "locale"),
        ({"locale": "en_GB"}, "locale"),
        ({"locale": "en-gb"}, "locale"),
        ({"locale": "en-GB\n"}, "locale"),
        ({"locale": "en-GB-x-private"}, "locale"),
        ({"locale": "../en"}, "locale"),
        ({"notifications": None}, "notifications"),
        ({"notifications": True}, "notifications"),
        ({"notifications": {"ticketAssigned": None}}, "notifications.ticketAssigned"),
        ({"notifications": {"ticketAssigned": "no"}}, "notifications.ticketAssigned"),
        ({"notifications": {"passwordChanged": False}}, "notifications.passwordChanged"),
        ({"notifications": {"TICKET_ASSIGNED": False}}, "notifications.TICKET_ASSIGNED"),
        ({"bio": "Good.", "notifications": {"ticketAssigned": False, "nonsense": 1}}, "notifications.nonsense"),
    ],
)
async def test_a_wrong_field_is_named_and_changes_nothing(desk: Desk, change: dict[str, object], wrong: str) -> None:
    before = await profile(desk.admin)
    assert wrong_fields(await desk.admin.patch("/me", change)) == {wrong}
    assert await profile(desk.admin) == before


async def test_a_bio_may_have_two_thousand_characters(desk: Desk) -> None:
    assert ok(await desk.admin.patch("/me", {"bio": "é" * 2000}))["bio"] == "é" * 2000


class TestNotifications:
    async def test_of_those_that_can_be_muted_all_come_at_first(self, desk: Desk) -> None:
        assert (await profile(await sign_in(desk)))["notifications"] == ALL_WANTED
        assert len(ALL_WANTED) == len(MailKind)

    async def test_each_can_be_muted_without_the_others(self, desk: Desk) -> None:
        user = await sign_in(desk)
        first = ok(await user.patch("/me", {"notifications": {"ticketAnswered": False, "signUpRequests": False}}))
        assert first["notifications"] == ALL_WANTED | {"ticketAnswered": False, "signUpRequests": False}
        second = ok(await user.patch("/me", {"notifications": {"ticketAnswered": True, "ticketAssigned": False}}))
        assert second["notifications"] == ALL_WANTED | {"signUpRequests": False, "ticketAssigned": False}
        assert (await row_of(desk, user.id)).muted == [MailKind.SIGN_UP_REQUESTS, MailKind.TICKET_ASSIGNED]
        assert (await profile(user))["notifications"] == second["notifications"]

    @pytest.mark.parametrize("same", [{}, {"ticketAssigned": True}, ALL_WANTED])
    async def test_the_same_again_changes_nothing(self, desk: Desk, same: dict[str, bool]) -> None:
        user = await sign_in(desk)
        assert ok(await user.patch("/me", {"notifications": same}))["notifications"] == ALL_WANTED
        assert await events_about(desk, user.id) == []


class TestAvailability:
    async def test_an_engineer_says_whether_tickets_may_come(self, desk: Desk) -> None:
        engineer = await sign_in(desk)
        assert ok(await engineer.patch("/me", {"available": True}))["available"] is True
        assert (await desk.open())["adminId"] == str(engineer.id)
        assert await events_about(desk, engineer.id) == [("user.became_available", {})]

    async def test_customers_may_say_what_is_so_anyway(self, desk: Desk) -> None:
        customer = await sign_in(desk, CUSTOMER)
        read = ok(await customer.patch("/me", {"available": False, "firstName": "Eve"}))
        assert (read["available"], read["firstName"]) == (False, "Eve")

    async def test_customers_have_none(self, desk: Desk) -> None:
        customer = await sign_in(desk, CUSTOMER)
        answer = await customer.patch("/me", {"available": True, "firstName": "Eve"})
        assert wrong_fields(answer, "customer_not_available") == {"available"}
        read = await profile(customer)
        assert (read["available"], read["firstName"]) == (False, "Grace")


class TestPermissions:
    async def test_they_are_those_of_the_role(self, desk: Desk) -> None:
        role_id = await a_role(desk, "tickets:view", "tickets:update", "org:view")
        read = await profile(await sign_in(desk, role_id=role_id))

        table = {row.pop("resource"): row for row in read["permissions"]}
        nothing = {"view": False, "create": False, "update": False, "delete": False}
        assert table == dict.fromkeys(Resource, nothing) | {
            "tickets": nothing | {"view": True, "update": True},
            "org": nothing | {"view": True},
        }
        assert read["roleId"] == str(role_id)

    async def test_and_what_was_granted_and_denied_to_the_user(self, desk: Desk) -> None:
        read = await profile(await sign_in(desk, CUSTOMER, granted=["reports:view"], denied=["tickets:create"]))
        table = {row["resource"]: row for row in read["permissions"]}
        assert table["reports"]["view"] is True
        assert (table["tickets"]["view"], table["tickets"]["create"]) == (True, False)


async def test_who_is_gone_has_none(api: Api, desk: Desk, database: Database) -> None:
    stranger = await create_desk(api, database)
    engineer, suspended = await sign_in(desk), await sign_in(desk, status="SUSPENDED")
    refused(await suspended.get("/me"), 401, "invalid_token")
    refused(await suspended.patch("/me", {"bio": "Hello."}), 401, "invalid_token")
    ok(await stranger.admin.patch("/me", {"bio": "Hello."}))
    assert (await profile(engineer))["bio"] is None

"""The fields, notification preferences, availability and permissions of a profile."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.user_permissions import Resource, RoleKind
from app.accounts.profiles.mail_kinds import MailKind
from app.core.database.pool import Database
from tests.accounts.users_and_roles import CUSTOMER, ENGINEER, add_role, add_signed_in_user, list_events, ok, read_row
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields

ALL_ON = {"ticketAssigned": True, "ticketResponded": True, "ticketClosingSoon": True, "signUpRequests": True}


async def read_profile(user: SignedInUser) -> dict[str, Any]:
    return ok(await user.get("/me"))


@pytest.mark.parametrize("role", [ENGINEER, CUSTOMER])
async def test_engineers_and_customers_have_a_profile(desk: Desk, role: RoleKind) -> None:
    user = await add_signed_in_user(desk, role)
    changes = {"bio": "I look after\npayments.", "timezone": "Europe/Berlin", "locale": "de-DE", "firstName": "Grete"}
    changed = ok(await user.patch("/me", changes))

    assert changes.items() <= changed.items()
    assert await read_profile(user) == changed
    assert (changed["id"], changed["role"]) == (str(user.id), role)


async def test_the_history_names_changed_fields_without_their_values(desk: Desk) -> None:
    user = await add_signed_in_user(desk)
    await user.patch("/me", {"bio": "Secret.", "locale": "en", "notifications": {"ticketResponded": False}})
    fields = {"fields": ["bio", "locale", "notifications"]}
    assert await list_events(desk, user.id) == [("user.updated", fields)]


@pytest.mark.parametrize("field", ["bio", "timezone", "locale"])
async def test_null_clears_a_field(desk: Desk, field: str) -> None:
    user = await add_signed_in_user(desk)
    before = await read_profile(user)
    await user.patch("/me", {"bio": "Hello.", "timezone": "UTC", "locale": "en"})
    assert ok(await user.patch("/me", {field: None}))[field] is None
    ok(await user.patch("/me", {"bio": None, "timezone": None, "locale": None}))
    assert await read_profile(user) == before


@pytest.mark.parametrize("locale", ["en", "en-GB", "gsw", "zh-Hant", "zh-Hant-TW", "es-419", "sr-Latn-RS"])
async def test_a_locale_is_a_language_with_optional_script_and_region(desk: Desk, locale: str) -> None:
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
async def test_an_invalid_field_is_reported_and_nothing_changes(
    desk: Desk, change: dict[str, object], wrong: str
) -> None:
    before = await read_profile(desk.admin)
    assert read_invalid_fields(await desk.admin.patch("/me", change)) == {wrong}
    assert await read_profile(desk.admin) == before


async def test_a_bio_may_have_two_thousand_characters(desk: Desk) -> None:
    assert ok(await desk.admin.patch("/me", {"bio": "é" * 2000}))["bio"] == "é" * 2000


class TestNotifications:
    async def test_all_mails_are_on_by_default(self, desk: Desk) -> None:
        assert (await read_profile(await add_signed_in_user(desk)))["notifications"] == ALL_ON
        assert len(ALL_ON) == len(MailKind)

    async def test_each_kind_of_mail_can_be_turned_off_separately(self, desk: Desk) -> None:
        user = await add_signed_in_user(desk)
        first = ok(await user.patch("/me", {"notifications": {"ticketResponded": False, "signUpRequests": False}}))
        assert first["notifications"] == ALL_ON | {"ticketResponded": False, "signUpRequests": False}
        second = ok(await user.patch("/me", {"notifications": {"ticketResponded": True, "ticketAssigned": False}}))
        assert second["notifications"] == ALL_ON | {"signUpRequests": False, "ticketAssigned": False}
        assert (await read_row(desk, user.id)).muted == [MailKind.SIGN_UP_REQUESTS, MailKind.TICKET_ASSIGNED]
        assert (await read_profile(user))["notifications"] == second["notifications"]

    @pytest.mark.parametrize("values", [{}, {"ticketAssigned": True}, ALL_ON])
    async def test_preferences_that_are_already_set_change_nothing(self, desk: Desk, values: dict[str, bool]) -> None:
        user = await add_signed_in_user(desk)
        assert ok(await user.patch("/me", {"notifications": values}))["notifications"] == ALL_ON
        assert await list_events(desk, user.id) == []


class TestAvailability:
    async def test_an_engineer_can_become_available(self, desk: Desk) -> None:
        engineer = await add_signed_in_user(desk)
        assert ok(await engineer.patch("/me", {"available": True}))["available"] is True
        assert (await desk.open())["adminId"] == str(engineer.id)
        assert await list_events(desk, engineer.id) == [("user.became_available", {})]

    async def test_customers_can_send_that_they_are_not_available(self, desk: Desk) -> None:
        customer = await add_signed_in_user(desk, CUSTOMER)
        read = ok(await customer.patch("/me", {"available": False, "firstName": "Eve"}))
        assert (read["available"], read["firstName"]) == (False, "Eve")

    async def test_customers_cannot_be_available(self, desk: Desk) -> None:
        customer = await add_signed_in_user(desk, CUSTOMER)
        answer = await customer.patch("/me", {"available": True, "firstName": "Eve"})
        assert read_invalid_fields(answer, "customer_not_available") == {"available"}
        read = await read_profile(customer)
        assert (read["available"], read["firstName"]) == (False, "Grace")


class TestPermissions:
    async def test_the_profile_contains_the_permissions_of_the_role(self, desk: Desk) -> None:
        role_id = await add_role(desk, "tickets:view", "tickets:update", "org:view")
        read = await read_profile(await add_signed_in_user(desk, role_id=role_id))

        table = {row.pop("resource"): row for row in read["permissions"]}
        nothing = {"view": False, "create": False, "update": False, "delete": False}
        assert table == dict.fromkeys(Resource, nothing) | {
            "tickets": nothing | {"view": True, "update": True},
            "org": nothing | {"view": True},
        }
        assert read["roleId"] == str(role_id)

    async def test_the_permissions_include_grants_and_denials(self, desk: Desk) -> None:
        read = await read_profile(
            await add_signed_in_user(desk, CUSTOMER, granted=["reports:view"], denied=["tickets:create"])
        )
        table = {row["resource"]: row for row in read["permissions"]}
        assert table["reports"]["view"] is True
        assert (table["tickets"]["view"], table["tickets"]["create"]) == (True, False)


async def test_a_suspended_user_has_no_profile(api: Api, desk: Desk, database: Database) -> None:
    stranger = await create_desk(api, database)
    engineer, suspended = await add_signed_in_user(desk), await add_signed_in_user(desk, status="SUSPENDED")
    assert_problem(await suspended.get("/me"), 401, "invalid_token")
    assert_problem(await suspended.patch("/me", {"bio": "Hello."}), 401, "invalid_token")
    ok(await stranger.admin.patch("/me", {"bio": "Hello."}))
    assert (await read_profile(engineer))["bio"] is None

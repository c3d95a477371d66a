"""Invite users, resend and cancel invitations."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import delete, func, select

from app.access.user_permissions import RoleKind
from app.accounts.roles.models import Role
from app.accounts.roles.rules import ADMIN, BUILT_IN, ENGINEER
from app.accounts.single_use_links.models import Link
from app.accounts.users.models import Credential
from app.core.database.base import Base, TableKind, find_tables
from app.core.database.pool import Database
from app.core.security.opaque_tokens import make_link_token
from tests.accounts.sign_up.test_public_sign_up import sign_in, sign_up
from tests.accounts.stored_rows import list_account_events, list_links, list_users
from tests.accounts.users_and_roles import add_role, add_signed_in_user
from tests.authentication.account_state import NEW_PASSWORD, update_user, verify_email
from tests.organisation_client import JSON, PASSWORD, Api, Desk, create_desk, open_session
from tests.problems import assert_problem, read_invalid_fields
from tests.services import unique_email


def body_for(email: object, **fields: object) -> JSON:
    role = {} if fields.keys() & {"role", "roleId"} else {"role": "ENGINEER"}
    return {"firstName": "Mia", "lastName": "Ek", "email": email, **role, **fields}


async def invite(desk: Desk, email: str | None = None, **fields: object) -> JSON:
    answer = await desk.admin.post("/users", body_for(email or unique_email(), **fields))
    assert answer.status_code == 201, answer.text
    created: JSON = answer.json()
    return created


async def latest_link_token(desk: Desk) -> str:
    """Return the token of the latest link."""
    return make_link_token(desk.api.secret_key, desk.id, (await list_links(desk))[-1].id)


async def accept(desk: Desk, token: object, password: object = PASSWORD) -> httpx.Response:
    return await desk.api.http.post("/auth/invitation/accept", json={"token": token, "password": password})


async def tables_with_rows_of(desk: Desk, user_id: str) -> set[str]:
    """Return the tables with rows of a user."""
    found = set()
    async with desk.database.session(desk.id) as db:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                if table.name in find_tables(TableKind.LOCAL):  # ids only, for an hour
                    continue
                if column.name == "user_id" or (table.name, column.name) == ("users", "id"):
                    count = select(func.count()).select_from(table)
                    if await db.scalar(count.where(table.c.org_id == desk.id, column == UUID(user_id))):
                        found.add(table.name)
    return found


class TestInviting:
    async def test_an_invitation_creates_an_account_that_cannot_act(self, desk: Desk) -> None:
        email = unique_email()
        answer = await desk.admin.post("/users", body_for(email.upper(), firstName=" Mia "))

        assert answer.status_code == 201
        created = answer.json()
        assert answer.headers["location"] == f"/users/{created['id']}"
        expires_at = datetime.fromisoformat(created.pop("invitationExpiresAt"))
        assert timedelta(days=7, minutes=-1) < expires_at - datetime.now(UTC) <= timedelta(days=7)
        assert created.pop("createdAt").endswith("Z")
        assert UUID(created["id"]).version == 7
        assert created == {
            "id": created["id"], "orgId": str(desk.id), "firstName": "Mia", "lastName": "Ek", "email": email,
            "role": "ENGINEER", "roleId": str(ENGINEER.id), "designation": "Engineer", "status": "INVITED",
            "available": False, "emailVerified": False, "secondFactor": False, "pictureUrl": None,
        }  # fmt: skip
        async with desk.database.session(desk.id) as db:
            credential = await db.get(Credential, (desk.id, UUID(created["id"])))
        assert credential is not None
        assert (credential.email, credential.password_hash) == (email, None)
        assert_problem(await sign_in(desk, email), 401, "wrong_email_or_password")

    async def test_the_history_contains_no_name_and_a_mail_is_requested(self, desk: Desk) -> None:
        created = await invite(desk)
        (link,) = await list_links(desk)
        assert (str(link.user_id), link.email, link.purpose) == (created["id"], created["email"], "INVITATION")
        assert await list_account_events(desk) == [
            ("user.invited", {"userId": created["id"], "role": "ENGINEER"}),
            ("user.link_requested", {"userId": created["id"], "linkId": str(link.id), "purpose": "INVITATION"}),
        ]

    @pytest.mark.parametrize("built_in", BUILT_IN.values())
    async def test_a_built_in_role_can_be_given_by_kind_or_id(self, desk: Desk, built_in: Any) -> None:
        for role in ({"role": built_in.kind.value}, {"roleId": str(built_in.id)}):
            created = await invite(desk, **role)
            assert (created["role"], created["roleId"], created["designation"]) == (
                built_in.kind.value, str(built_in.id), built_in.name,
            )  # fmt: skip

    async def test_a_custom_role_is_given_by_its_id(self, desk: Desk) -> None:
        role_id = await add_role(desk, "users:view", role=RoleKind.ADMIN)
        created = await invite(desk, roleId=str(role_id))
        async with desk.database.session(desk.id) as db:
            role = await db.get(Role, (desk.id, role_id))
        assert role is not None
        assert (created["role"], created["roleId"], created["designation"]) == ("ADMIN", str(role_id), role.name)
        assert (await accept(desk, await latest_link_token(desk))).json()["designation"] == role.name

    async def test_a_role_that_does_not_exist_in_the_organisation_is_refused(
        self, api: Api, database: Database, desk: Desk
    ) -> None:
        other = await create_desk(api, database)
        for role_id in (await add_role(other), uuid4()):
            answer = await desk.admin.post("/users", body_for(unique_email(), roleId=str(role_id)))
            assert read_invalid_fields(answer) == {"roleId"}
        assert await list_account_events(desk) == []

    async def test_a_role_that_is_deleted_concurrently_is_not_assigned(self, desk: Desk) -> None:
        for _ in range(5):
            role_id = await add_role(desk)
            given, deleted = await asyncio.gather(
                desk.admin.post("/users", body_for(unique_email(), roleId=str(role_id))),
                desk.admin.delete(f"/roles/{role_id}"),
            )
            assert (given.status_code, deleted.status_code) in {(201, 409), (422, 204)}, (given.text, deleted.text)

    async def test_exactly_one_role_is_needed(self, desk: Desk) -> None:
        body = body_for(unique_email())
        both = body | {"roleId": str(ENGINEER.id)}
        for wrong in (both, {name: value for name, value in body.items() if name != "role"}):
            assert read_invalid_fields(await desk.admin.post("/users", wrong)) == {"roleId"}

    async def test_inviting_a_taken_e_mail_is_refused(self, desk: Desk) -> None:
        created = await invite(desk)
        for email in (desk.admin.email, created["email"].upper()):
            assert_problem(await desk.admin.post("/users", body_for(email)), 409, "email_taken")

    @pytest.mark.parametrize("role", ["CUSTOMER", "ENGINEER"])
    @pytest.mark.parametrize("way", ["invitation", "secret key"])
    async def test_a_sign_up_whose_address_was_never_proved_gives_way(self, desk: Desk, role: str, way: str) -> None:
        """Otherwise an outsider who signs up with a colleague's address blocks the colleague."""
        email = unique_email()
        assert (await sign_up(desk, email, role=role)).status_code == 201
        (squatter,) = await list_users(desk, email)
        session = await open_session(desk, squatter)
        if way == "invitation":
            created = await invite(desk, email)
            assert (await accept(desk, await latest_link_token(desk), NEW_PASSWORD)).status_code == 200
        else:
            body = {"firstName": "Mia", "email": email, "password": NEW_PASSWORD, "secret": desk.secret}
            created = (await desk.api.http.post("/auth/admin/signup", json=body)).json()
        (user,) = await list_users(desk, email)
        assert (str(user.id), user.status) == (created["id"], "ACTIVE")
        assert_problem(await sign_in(desk, email), 401, "wrong_email_or_password")
        assert_problem(await session.post("/auth/signout-all"), 401, "invalid_token")
        assert (await sign_in(desk, email, NEW_PASSWORD)).status_code == 200
        assert ("user.erased", {"userId": str(squatter.id)}) in await list_account_events(desk)

    async def test_an_unproved_sign_up_with_staff_rights_keeps_its_address_and_the_answer_says_so(
        self, desk: Desk
    ) -> None:
        email = unique_email()
        await sign_up(desk, email, role="ENGINEER")
        await update_user(desk, (await list_users(desk, email))[0].id, status="ACTIVE")
        problem = assert_problem(await desk.admin.post("/users", body_for(email)), 409, "email_taken")
        assert "never confirmed" in problem["detail"]

    async def test_a_sign_up_whose_address_is_proved_is_not_replaced(self, desk: Desk) -> None:
        email = unique_email()
        await sign_up(desk, email)
        await verify_email(desk.api.http, await latest_link_token(desk))
        assert_problem(await desk.admin.post("/users", body_for(email)), 409, "email_taken")
        assert (await sign_in(desk, email)).status_code == 200

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"status": "ACTIVE"}, "status"),
            ({"orgId": "0190b8e5-0000-7000-8000-000000000001"}, "orgId"),
            ({"id": "0190b8e5-0000-7000-8000-000000000001"}, "id"),
            ({"available": True}, "available"),
            ({"permissions": ["users:create"]}, "permissions"),
            ({"granted": ["users:create"]}, "granted"),
            ({"password": PASSWORD}, "password"),
            ({"emailVerified": True}, "emailVerified"),
            ({"role": "OWNER"}, "role"),
            ({"role": None}, "role"),
            ({"roleId": None}, "roleId"),
            ({"roleId": "1"}, "roleId"),
            ({"email": "mia"}, "email"),
            ({"firstName": ""}, "firstName"),
            ({"lastName": "a\0b"}, "lastName"),
        ],
    )
    async def test_an_invalid_field_is_reported_and_no_user_is_created(
        self, desk: Desk, fields: dict[str, object], wrong: str
    ) -> None:
        assert read_invalid_fields(await desk.admin.post("/users", body_for(**{"email": unique_email()} | fields))) == {
            wrong
        }
        assert await list_account_events(desk) == []


class TestPermissions:
    async def test_invitations_require_the_permission_and_refuse_customers(self, desk: Desk) -> None:
        engineer = await add_signed_in_user(desk)
        customer = await add_signed_in_user(desk, RoleKind.CUSTOMER, granted=["users:create"])
        created = await invite(desk)
        for method, path, body in (
            ("POST", "/users", body_for(unique_email())),
            ("POST", f"/users/{created['id']}/invitation", None),
            ("DELETE", f"/users/{created['id']}/invitation", None),
        ):
            for headers, status, code in (
                ({}, 401, "missing_credential"),
                ({"X-Org-Secret": desk.secret}, 403, "access_token_required"),
                (engineer.headers, 403, "permission_required"),
                (customer.headers, 403, "not_for_customers"),
            ):
                answer = await desk.api.http.request(method, path, json=body, headers=headers)
                assert_problem(answer, status, code)
        assert (await list_users(desk, created["email"]))[0].status == "INVITED"

    async def test_inviters_cannot_give_permissions_that_they_lack(self, desk: Desk) -> None:
        inviter = await add_signed_in_user(desk, role_id=await add_role(desk, "users:create", "users:view"))
        more, less = await add_role(desk, "users:create", "org:update"), await add_role(desk, "users:view")
        for given in ({"role": "ADMIN"}, {"role": "ENGINEER"}, {"role": "CUSTOMER"}, {"roleId": str(more)},
                      {"roleId": str(ADMIN.id)}):  # fmt: skip
            assert_problem(await inviter.post("/users", body_for(unique_email(), **given)), 403, "privilege_escalation")
        answer = await inviter.post("/users", body_for(unique_email(), roleId=str(less)))
        assert (answer.status_code, answer.json()["roleId"]) == (201, str(less))

    async def test_the_inviters_own_grants_and_denials_are_taken_into_account(self, desk: Desk) -> None:
        admin = await add_signed_in_user(desk, RoleKind.ADMIN, denied=["jobs:delete"])
        assert_problem(await admin.post("/users", body_for(unique_email(), role="ADMIN")), 403, "privilege_escalation")
        assert (await admin.post("/users", body_for(unique_email()))).status_code == 201
        engineer = await add_signed_in_user(desk, granted=["users:create"])
        assert (await engineer.post("/users", body_for(unique_email()))).status_code == 201
        assert_problem(
            await engineer.post("/users", body_for(unique_email(), role="ADMIN")), 403, "privilege_escalation"
        )

    async def test_inviters_cannot_give_a_higher_role_kind_than_their_own(self, desk: Desk) -> None:
        inviter = await add_signed_in_user(desk, role_id=await add_role(desk, "users:create", "users:view"))
        above = await add_role(desk, "users:view", role=RoleKind.ADMIN)
        email = unique_email()
        assert_problem(await inviter.post("/users", body_for(email, roleId=str(above))), 403, "privilege_escalation")
        assert await list_users(desk, email) == []
        created = await invite(desk, roleId=str(above))
        for method in (inviter.post, inviter.delete):
            assert_problem(await method(f"/users/{created['id']}/invitation"), 403, "privilege_escalation")

    async def test_an_invitation_to_a_higher_role_cannot_be_resent_or_cancelled(self, desk: Desk) -> None:
        created = await invite(desk, role="ADMIN")
        engineer = await add_signed_in_user(desk, granted=["users:create"])
        path = f"/users/{created['id']}/invitation"
        assert_problem(await engineer.post(path), 403, "privilege_escalation")
        assert_problem(await engineer.delete(path), 403, "privilege_escalation")
        assert (await accept(desk, await latest_link_token(desk))).status_code == 200

    async def test_users_of_another_organisation_are_not_found(self, api: Api, database: Database, desk: Desk) -> None:
        created, stranger = await invite(desk), (await create_desk(api, database)).admin
        for user_id in (created["id"], str(uuid4())):
            assert_problem(await stranger.post(f"/users/{user_id}/invitation"), 404, "user_not_found")
            assert_problem(await stranger.delete(f"/users/{user_id}/invitation"), 404, "user_not_found")
        assert (await accept(desk, await latest_link_token(desk))).status_code == 200


class TestResending:
    async def test_a_new_link_replaces_the_old_one(self, desk: Desk) -> None:
        created = await invite(desk)
        old = await latest_link_token(desk)
        answer = await desk.admin.post(f"/users/{created['id']}/invitation")

        assert answer.status_code == 200
        again = answer.json()
        assert again["invitationExpiresAt"] > created["invitationExpiresAt"]
        assert again | {"invitationExpiresAt": ""} == created | {"invitationExpiresAt": ""}
        assert_problem(await accept(desk, old), 422, "link_expired")
        (link,) = await list_links(desk)
        assert (await list_account_events(desk))[-1] == (
            "user.link_requested",
            {"userId": created["id"], "linkId": str(link.id), "purpose": "INVITATION"},
        )
        assert (await accept(desk, await latest_link_token(desk))).status_code == 200

    async def test_an_expired_invitation_is_renewed(self, desk: Desk) -> None:
        created = await invite(desk)
        async with desk.database.session(desk.id) as db:
            await db.execute(delete(Link).where(Link.org_id == desk.id))
        assert (await desk.admin.post(f"/users/{created['id']}/invitation")).status_code == 200
        assert (await accept(desk, await latest_link_token(desk))).status_code == 200

    async def test_a_user_with_an_account_cannot_be_invited_again(self, desk: Desk) -> None:
        created = await invite(desk)
        await accept(desk, await latest_link_token(desk))
        for user_id in (created["id"], str(desk.admin.id)):
            assert_problem(await desk.admin.post(f"/users/{user_id}/invitation"), 409, "not_invited")
        assert await list_links(desk) == []

    async def test_an_address_gets_at_most_ten_invitations_an_hour(self, desk: Desk) -> None:
        email = unique_email()
        for _ in range(5):
            created = await invite(desk, email)
            path = f"/users/{created['id']}/invitation"
            assert (await desk.admin.post(path)).status_code == 200
            assert (await desk.admin.delete(path)).status_code == 204
        assert_problem(await desk.admin.post("/users", body_for(email)), 429, "rate_limited")
        assert (await desk.admin.post("/users", body_for(unique_email()))).status_code == 201

    async def test_resending_counts_towards_the_limit(self, desk: Desk) -> None:
        path = f"/users/{(await invite(desk))['id']}/invitation"
        statuses = [(await desk.admin.post(path)).status_code for _ in range(10)]
        assert statuses == [200] * 9 + [429]


class TestCancelling:
    async def test_cancelling_deletes_the_account_and_frees_the_e_mail(self, desk: Desk) -> None:
        created = await invite(desk)
        token = await latest_link_token(desk)
        assert await tables_with_rows_of(desk, created["id"]) == {"users", "credentials", "user_words", "links"}

        answer = await desk.admin.delete(f"/users/{created['id']}/invitation")

        assert (answer.status_code, answer.content) == (204, b"")
        assert await tables_with_rows_of(desk, created["id"]) == set()
        assert (await list_account_events(desk))[-1] == ("user.invitation_cancelled", {"userId": created["id"]})
        assert_problem(await accept(desk, token), 422, "link_expired")
        assert_problem(await desk.admin.delete(f"/users/{created['id']}/invitation"), 404, "user_not_found")
        assert (await invite(desk, created["email"]))["id"] != created["id"]

    async def test_an_accepted_invitation_cannot_be_cancelled(self, desk: Desk) -> None:
        created = await invite(desk)
        await accept(desk, await latest_link_token(desk))
        for user_id in (created["id"], str(desk.admin.id)):
            assert_problem(await desk.admin.delete(f"/users/{user_id}/invitation"), 409, "not_invited")
        assert (await sign_in(desk, created["email"])).status_code == 200

    async def test_either_a_cancellation_or_a_concurrent_acceptance_wins(self, desk: Desk) -> None:
        for _ in range(3):
            created = await invite(desk)
            token, path = await latest_link_token(desk), f"/users/{created['id']}/invitation"
            cancelled, accepted, resent = await asyncio.gather(
                desk.admin.delete(path), accept(desk, token), desk.admin.post(path)
            )
            statuses = (cancelled.status_code, accepted.status_code)
            assert statuses in {(204, 422), (409, 200)}
            assert resent.status_code in {200, 404, 409}
            rows = await list_users(desk, created["email"])
            assert [row.status for row in rows] == ([] if cancelled.status_code == 204 else ["ACTIVE"])

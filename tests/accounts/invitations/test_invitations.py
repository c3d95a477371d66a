"""An admin invites somebody, who sets a password with the mailed link."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import delete, func, select

from app.access.permissions import RoleKind
from app.accounts.roles.models import Role
from app.accounts.roles.rules import ADMIN, BUILT_IN, ENGINEER
from app.accounts.single_use_links.models import Link
from app.accounts.users import creation as users
from app.accounts.users.models import Credential
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.base import Base
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.security.opaque_tokens import make_link_token
from tests.accounts.sign_up.test_public_sign_up import events_of, links_of, rows_of, sign_in
from tests.organisation_client import JSON, PASSWORD, Api, Desk, SignedInUser, create_desk, open_session
from tests.problems import refused, wrong_fields
from tests.services import unique_email


def body_for(email: object, **fields: object) -> JSON:
    role = {} if fields.keys() & {"role", "roleId"} else {"role": "ENGINEER"}
    return {"firstName": "Mia", "lastName": "Ek", "email": email, **role, **fields}


async def invite(desk: Desk, email: str | None = None, **fields: object) -> JSON:
    answer = await desk.admin.post("/users", body_for(email or unique_email(), **fields))
    assert answer.status_code == 201, answer.text
    made: JSON = answer.json()
    return made


async def token_for(desk: Desk) -> str:
    """The token of the link that was sent last."""
    return make_link_token(desk.api.secret_key, desk.id, (await links_of(desk))[-1].id)


async def accept(desk: Desk, token: object, password: object = PASSWORD) -> httpx.Response:
    return await desk.api.http.post("/auth/invitation/accept", json={"token": token, "password": password})


async def a_role(desk: Desk, *permissions: str, role: RoleKind = RoleKind.ENGINEER) -> UUID:
    now = real_now()
    async with desk.database.session(desk.id) as db:
        made = Role(
            org_id=desk.id, id=new_id(), name=uuid4().hex, kind=role, permissions=list(permissions),
            created_at=now, updated_at=now,
        )  # fmt: skip
        db.add(made)
    return made.id


async def a_user(
    desk: Desk, role: RoleKind = RoleKind.ENGINEER, *, role_id: UUID | None = None, **columns: object
) -> SignedInUser:
    """UserRow who is signed in, with this role."""
    async with desk.database.session(desk.id) as db:
        user = UserRow(
            org_id=desk.id, id=new_id(), first_name="Bo", last_name="Ek", email=unique_email(), role_kind=role,
            role_id=role_id, status=AccountStatus.ACTIVE, available=False, created_at=real_now(), **columns,
        )  # fmt: skip
        await users.add_user(db, user, None)
    return await open_session(desk, user)


async def tables_naming(desk: Desk, user_id: str) -> set[str]:
    """The tables with rows of this user."""
    found = set()
    async with desk.database.session(desk.id) as db:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                if column.name == "user_id" or (table.name, column.name) == ("users", "id"):
                    count = select(func.count()).select_from(table)
                    if await db.scalar(count.where(table.c.org_id == desk.id, column == UUID(user_id))):
                        found.add(table.name)
    return found


class TestInviting:
    async def test_it_makes_an_account_that_cannot_act(self, desk: Desk) -> None:
        email = unique_email()
        answer = await desk.admin.post("/users", body_for(email.upper(), firstName=" Mia "))

        assert answer.status_code == 201
        made = answer.json()
        assert answer.headers["location"] == f"/users/{made['id']}"
        expires_at = datetime.fromisoformat(made.pop("invitationExpiresAt"))
        assert timedelta(days=7, minutes=-1) < expires_at - datetime.now(UTC) <= timedelta(days=7)
        assert made.pop("createdAt").endswith("Z")
        assert UUID(made["id"]).version == 7
        assert made == {
            "id": made["id"], "orgId": str(desk.id), "firstName": "Mia", "lastName": "Ek", "email": email,
            "role": "ENGINEER", "roleId": str(ENGINEER.id), "designation": "Engineer", "status": "INVITED",
            "available": False, "emailVerified": False, "secondFactor": False, "pictureUrl": None,
        }  # fmt: skip
        async with desk.database.session(desk.id) as db:
            credential = await db.get(Credential, (desk.id, UUID(made["id"])))
        assert credential is not None
        assert (credential.email, credential.password_hash) == (email, None)
        refused(await sign_in(desk, email), 401, "wrong_email_or_password")

    async def test_the_history_says_so_without_a_name_and_a_mail_is_asked_for(self, desk: Desk) -> None:
        made = await invite(desk)
        (link,) = await links_of(desk)
        assert (str(link.user_id), link.email, link.purpose) == (made["id"], made["email"], "INVITATION")
        assert await events_of(desk) == [
            ("user.invited", {"userId": made["id"], "role": "ENGINEER"}),
            ("user.link_requested", {"userId": made["id"], "linkId": str(link.id), "purpose": "INVITATION"}),
        ]

    @pytest.mark.parametrize("built_in", BUILT_IN.values())
    async def test_a_built_in_role_is_named_either_way(self, desk: Desk, built_in: Any) -> None:
        for named in ({"role": built_in.kind.value}, {"roleId": str(built_in.id)}):
            made = await invite(desk, **named)
            assert (made["role"], made["roleId"], made["designation"]) == (
                built_in.kind.value, str(built_in.id), built_in.name,
            )  # fmt: skip

    async def test_a_role_of_the_organisations_own_is_named_by_its_id(self, desk: Desk) -> None:
        role_id = await a_role(desk, "users:view", role=RoleKind.ADMIN)
        made = await invite(desk, roleId=str(role_id))
        async with desk.database.session(desk.id) as db:
            role = await db.get(Role, (desk.id, role_id))
        assert role is not None
        assert (made["role"], made["roleId"], made["designation"]) == ("ADMIN", str(role_id), role.name)
        assert (await accept(desk, await token_for(desk))).json()["designation"] == role.name

    async def test_no_role_is_given_that_there_is_not(self, api: Api, database: Database, desk: Desk) -> None:
        other = await create_desk(api, database)
        for role_id in (await a_role(other), uuid4()):
            answer = await desk.admin.post("/users", body_for(unique_email(), roleId=str(role_id)))
            assert wrong_fields(answer) == {"roleId"}
        assert await events_of(desk) == []

    async def test_a_role_that_is_deleted_at_the_same_moment_is_not_given(self, desk: Desk) -> None:
        for _ in range(5):
            role_id = await a_role(desk)
            given, deleted = await asyncio.gather(
                desk.admin.post("/users", body_for(unique_email(), roleId=str(role_id))),
                desk.admin.delete(f"/roles/{role_id}"),
            )
            assert (given.status_code, deleted.status_code) in {(201, 409), (422, 204)}, (given.text, deleted.text)

    async def test_exactly_one_role_is_needed(self, desk: Desk) -> None:
        body = body_for(unique_email())
        both = body | {"roleId": str(ENGINEER.id)}
        for wrong in (both, {name: value for name, value in body.items() if name != "role"}):
            assert wrong_fields(await desk.admin.post("/users", wrong)) == {""}

    async def test_an_admin_may_know_that_an_e_mail_is_taken(self, desk: Desk) -> None:
        made = await invite(desk)
        for email in (desk.admin.email, made["email"].upper()):
            refused(await desk.admin.post("/users", body_for(email)), 409, "email_taken")

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
    async def test_a_wrong_field_is_named_and_nobody_is_made(
        self, desk: Desk, fields: dict[str, object], wrong: str
    ) -> None:
        assert wrong_fields(await desk.admin.post("/users", body_for(**{"email": unique_email()} | fields))) == {wrong}
        assert await events_of(desk) == []


class TestRights:
    async def test_it_takes_the_permission_and_a_user_who_is_no_customer(self, desk: Desk) -> None:
        engineer = await a_user(desk)
        customer = await a_user(desk, RoleKind.CUSTOMER, granted=["users:create"])
        made = await invite(desk)
        for method, path, body in (
            ("POST", "/users", body_for(unique_email())),
            ("POST", f"/users/{made['id']}/invitation", None),
            ("DELETE", f"/users/{made['id']}/invitation", None),
        ):
            for headers, status, code in (
                ({}, 401, "missing_credential"),
                ({"X-Org-Secret": desk.secret}, 403, "access_token_required"),
                (engineer.headers, 403, "permission_required"),
                (customer.headers, 403, "not_for_customers"),
            ):
                answer = await desk.api.http.request(method, path, json=body, headers=headers)
                refused(answer, status, code)
        assert (await rows_of(desk, made["email"]))[0].status == "INVITED"

    async def test_nobody_gives_what_they_do_not_have(self, desk: Desk) -> None:
        inviter = await a_user(desk, role_id=await a_role(desk, "users:create", "users:view"))
        more, less = await a_role(desk, "users:create", "org:update"), await a_role(desk, "users:view")
        for given in ({"role": "ADMIN"}, {"role": "ENGINEER"}, {"role": "CUSTOMER"}, {"roleId": str(more)},
                      {"roleId": str(ADMIN.id)}):  # fmt: skip
            refused(await inviter.post("/users", body_for(unique_email(), **given)), 403, "privilege_escalation")
        answer = await inviter.post("/users", body_for(unique_email(), roleId=str(less)))
        assert (answer.status_code, answer.json()["roleId"]) == (201, str(less))

    async def test_what_was_granted_and_denied_counts(self, desk: Desk) -> None:
        admin = await a_user(desk, RoleKind.ADMIN, denied=["jobs:delete"])
        refused(await admin.post("/users", body_for(unique_email(), role="ADMIN")), 403, "privilege_escalation")
        assert (await admin.post("/users", body_for(unique_email()))).status_code == 201
        engineer = await a_user(desk, granted=["users:create"])
        assert (await engineer.post("/users", body_for(unique_email()))).status_code == 201
        refused(await engineer.post("/users", body_for(unique_email(), role="ADMIN")), 403, "privilege_escalation")

    async def test_nobody_invites_somebody_to_be_more_than_they_are(self, desk: Desk) -> None:
        inviter = await a_user(desk, role_id=await a_role(desk, "users:create", "users:view"))
        above = await a_role(desk, "users:view", role=RoleKind.ADMIN)
        email = unique_email()
        refused(await inviter.post("/users", body_for(email, roleId=str(above))), 403, "privilege_escalation")
        assert await rows_of(desk, email) == []
        made = await invite(desk, roleId=str(above))
        for method in (inviter.post, inviter.delete):
            refused(await method(f"/users/{made['id']}/invitation"), 403, "privilege_escalation")

    async def test_nor_does_anybody_act_on_an_invitation_to_more(self, desk: Desk) -> None:
        made = await invite(desk, role="ADMIN")
        engineer = await a_user(desk, granted=["users:create"])
        path = f"/users/{made['id']}/invitation"
        refused(await engineer.post(path), 403, "privilege_escalation")
        refused(await engineer.delete(path), 403, "privilege_escalation")
        assert (await accept(desk, await token_for(desk))).status_code == 200

    async def test_another_organisations_users_are_not_there(self, api: Api, database: Database, desk: Desk) -> None:
        made, stranger = await invite(desk), (await create_desk(api, database)).admin
        for user_id in (made["id"], str(uuid4())):
            refused(await stranger.post(f"/users/{user_id}/invitation"), 404, "user_not_found")
            refused(await stranger.delete(f"/users/{user_id}/invitation"), 404, "user_not_found")
        assert (await accept(desk, await token_for(desk))).status_code == 200


class TestSendingAgain:
    async def test_the_new_link_works_and_the_old_one_does_not(self, desk: Desk) -> None:
        made = await invite(desk)
        old = await token_for(desk)
        answer = await desk.admin.post(f"/users/{made['id']}/invitation")

        assert answer.status_code == 200
        again = answer.json()
        assert again["invitationExpiresAt"] > made["invitationExpiresAt"]
        assert again | {"invitationExpiresAt": ""} == made | {"invitationExpiresAt": ""}
        refused(await accept(desk, old), 422, "link_expired")
        (link,) = await links_of(desk)
        assert (await events_of(desk))[-1] == (
            "user.link_requested",
            {"userId": made["id"], "linkId": str(link.id), "purpose": "INVITATION"},
        )
        assert (await accept(desk, await token_for(desk))).status_code == 200

    async def test_an_expired_invitation_is_renewed(self, desk: Desk) -> None:
        made = await invite(desk)
        async with desk.database.session(desk.id) as db:
            await db.execute(delete(Link).where(Link.org_id == desk.id))
        assert (await desk.admin.post(f"/users/{made['id']}/invitation")).status_code == 200
        assert (await accept(desk, await token_for(desk))).status_code == 200

    async def test_not_to_somebody_who_has_an_account(self, desk: Desk) -> None:
        made = await invite(desk)
        await accept(desk, await token_for(desk))
        for user_id in (made["id"], str(desk.admin.id)):
            refused(await desk.admin.post(f"/users/{user_id}/invitation"), 409, "not_invited")
        assert await links_of(desk) == []

    async def test_an_address_is_written_to_ten_times_an_hour_at_most(self, desk: Desk) -> None:
        email = unique_email()
        for _ in range(5):
            made = await invite(desk, email)
            path = f"/users/{made['id']}/invitation"
            assert (await desk.admin.post(path)).status_code == 200
            assert (await desk.admin.delete(path)).status_code == 204
        refused(await desk.admin.post("/users", body_for(email)), 429, "rate_limited")
        assert (await desk.admin.post("/users", body_for(unique_email()))).status_code == 201

    async def test_the_same_counts_for_one_who_stays_invited(self, desk: Desk) -> None:
        path = f"/users/{(await invite(desk))['id']}/invitation"
        statuses = [(await desk.admin.post(path)).status_code for _ in range(10)]
        assert statuses == [200] * 9 + [429]


class TestTakingBack:
    async def test_nothing_is_left_and_the_e_mail_is_free(self, desk: Desk) -> None:
        made = await invite(desk)
        token = await token_for(desk)
        assert await tables_naming(desk, made["id"]) == {"users", "credentials", "user_words", "links"}

        answer = await desk.admin.delete(f"/users/{made['id']}/invitation")

        assert (answer.status_code, answer.content) == (204, b"")
        assert await tables_naming(desk, made["id"]) == set()
        assert (await events_of(desk))[-1] == ("user.invitation_cancelled", {"userId": made["id"]})
        refused(await accept(desk, token), 422, "link_expired")
        refused(await desk.admin.delete(f"/users/{made['id']}/invitation"), 404, "user_not_found")
        assert (await invite(desk, made["email"]))["id"] != made["id"]

    async def test_not_from_somebody_who_has_an_account(self, desk: Desk) -> None:
        made = await invite(desk)
        await accept(desk, await token_for(desk))
        for user_id in (made["id"], str(desk.admin.id)):
            refused(await desk.admin.delete(f"/users/{user_id}/invitation"), 409, "not_invited")
        assert (await sign_in(desk, made["email"])).status_code == 200

    async def test_of_taking_back_and_accepting_at_once_one_wins(self, desk: Desk) -> None:
        for _ in range(3):
            made = await invite(desk)
            token, path = await token_for(desk), f"/users/{made['id']}/invitation"
            taken_back, accepted, sent = await asyncio.gather(
                desk.admin.delete(path), accept(desk, token), desk.admin.post(path)
            )
            statuses = (taken_back.status_code, accepted.status_code)
            assert statuses in {(204, 422), (409, 200)}
            assert sent.status_code in {200, 404, 409}
            rows = await rows_of(desk, made["email"])
            assert [row.status for row in rows] == ([] if taken_back.status_code == 204 else ["ACTIVE"])

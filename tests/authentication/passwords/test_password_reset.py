"""Resetting a password with a mailed link."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pyotp
import pytest
from sqlalchemy import delete, select, update

from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users.models import Credential
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.authentication.social.models import ExternalIdentity
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.security.opaque_tokens import LINK_PREFIX, make_link_token
from app.organisations.models import Organisation
from tests.authentication.account_state import (
    NEW_PASSWORD,
    expire_links,
    issue_link,
    list_event_types,
    list_links,
    read_credential,
    read_user,
    sign_in,
    token_of,
    update_user,
)
from tests.authentication.passwords.resets import is_expired, reset
from tests.conftest import SECRET_KEY
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import create_user, unique_email


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


@pytest.fixture
async def token(desk: Desk, user: SignedInUser) -> str:
    return await issue_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)


class TestReset:
    async def test_the_new_password_replaces_the_old_one(self, api: Api, user: SignedInUser, token: str) -> None:
        answer = await reset(api.http, token)
        assert (answer.status_code, answer.content) == (204, b""), "no session is opened"
        assert "set-cookie" not in answer.headers
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200
        assert_problem(await sign_in(api.http, user.email), 401, "wrong_email_or_password")

    async def test_a_reset_verifies_the_email(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        await reset(api.http, token)
        verified_at = (await read_user(desk, user.id)).email_verified_at
        assert verified_at is not None
        assert await list_event_types(desk, user.id) == ["user.email_verified", "user.password_changed"]
        await reset(
            api.http, await issue_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD), "another-heron-48"
        )
        assert (await read_user(desk, user.id)).email_verified_at == verified_at
        assert (await list_event_types(desk, user.id))[2:] == ["user.password_changed"]

    async def test_a_reset_ends_every_session_at_once(self, api: Api, database: Database) -> None:
        desk = await create_desk(api, database, sandbox=False)  # its users are cached
        user = await create_user(desk)
        signed_in = (await sign_in(api.http, user.email)).json()
        bearer = {"Authorization": f"Bearer {signed_in['jwt']}"}
        assert (await api.http.get("/me", headers=bearer)).status_code == 200
        assert (await user.get("/me")).status_code == 200

        token = await issue_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        assert (await reset(api.http, token)).status_code == 204

        assert_problem(await api.http.get("/me", headers=bearer), 401, "invalid_token")
        assert_problem(await user.get("/me"), 401, "invalid_token")
        refreshed = await api.http.post("/auth/refresh", json={"refreshToken": signed_in["refreshToken"]})
        assert_problem(refreshed, 401, "invalid_refresh_token")
        assert (await desk.admin.get("/me")).status_code == 200, "sessions of other users do not end"

    async def test_a_second_factor_is_still_required(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await update_user(desk, user.id, second_factor=True, email_verified_at=real_now())
        assert (await reset(api.http, token)).status_code == 204
        assert_problem(await sign_in(api.http, user.email, NEW_PASSWORD), 401, "totp_required")

    async def test_what_was_set_up_before_the_address_was_proved_is_dropped(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        """Another person signed up with the address, and set up a second factor with an earlier version."""
        await update_user(desk, user.id, email_verified_at=real_now())
        secret = (await user.post("/auth/2fa/setup")).json()["secret"]
        code = pyotp.TOTP(secret).now()
        assert (await user.post("/auth/2fa/confirm", {"code": code})).status_code == 200
        await update_user(desk, user.id, email_verified_at=None)
        async with desk.database.session(desk.id) as db:
            identity = {"provider": "okta", "subject": uuid4().hex, "created_at": real_now()}
            db.add(ExternalIdentity(org_id=desk.id, user_id=user.id, **identity))
        await issue_link(desk, user.id, unique_email(), LinkPurpose.CHANGE_EMAIL)

        assert (await reset(api.http, token)).status_code == 204

        signed_in = await sign_in(api.http, user.email, NEW_PASSWORD)
        assert signed_in.status_code == 200, "the owner of the address can sign in"
        assert signed_in.json()["user"]["secondFactor"] is False
        assert_problem(await user.get("/me"), 401, "invalid_token")
        assert await list_links(desk, user.id) == []
        async with desk.database.session(desk.id) as db:
            for table in (SecondFactor, RecoveryCode, ExternalIdentity):
                left = select(table).where(table.org_id == desk.id, table.user_id == user.id)
                assert (await db.scalars(left)).all() == []
        assert "user.second_factor_disabled" in await list_event_types(desk, user.id)

    async def test_only_the_account_of_the_link_changes(
        self, api: Api, database: Database, user: SignedInUser, token: str
    ) -> None:
        other = await create_desk(api, database)
        same = await create_user(other, user.email)
        before = (await read_credential(other, same.id)).password_hash
        assert (await reset(api.http, token)).status_code == 204
        assert (await read_credential(other, same.id)).password_hash == before
        assert (await same.get("/me")).status_code == 200

    @pytest.mark.parametrize("weak", ["password", "growfin-1", "aaaaaaaaaaaa"])
    async def test_a_refused_password_does_not_use_up_the_link(
        self, api: Api, user: SignedInUser, token: str, weak: str
    ) -> None:
        assert read_invalid_fields(await reset(api.http, token, weak), "weak_password") == {"newPassword"}
        assert read_invalid_fields(await reset(api.http, token, "short")) == {"newPassword"}
        assert (await reset(api.http, token)).status_code == 204
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_other_fields_are_refused(self, api: Api, token: str) -> None:
        body = {"token": token, "newPassword": NEW_PASSWORD}
        for field in ("role", "status", "orgId", "email", "userId"):
            assert read_invalid_fields(await api.http.post("/auth/password/reset", json=body | {field: "ADMIN"})) == {
                field
            }


class TestInvalidLinks:
    async def test_a_used_link_is_refused(self, api: Api, user: SignedInUser, token: str) -> None:
        assert (await reset(api.http, token)).status_code == 204
        assert_problem(await reset(api.http, token, "another-heron-48-lamp"), 422, "link_expired")
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_one_of_several_concurrent_uses_succeeds(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        passwords = [f"another-heron-{n}-lamp" for n in range(4)]
        answers = await asyncio.gather(*(reset(api.http, token, password) for password in passwords))
        assert sorted(answer.status_code for answer in answers) == [204, 422, 422, 422]
        for answer, password in zip(answers, passwords, strict=True):
            assert (await sign_in(api.http, user.email, password)).status_code == (
                200 if answer.status_code == 204 else 401
            )
        assert (await list_event_types(desk, user.id)).count("user.password_changed") == 1

    async def test_using_a_link_cancels_the_others(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        later = await issue_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        assert (await reset(api.http, token)).status_code == 204
        assert await is_expired(api, later)

    async def test_an_expired_link_is_refused(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        await expire_links(desk, user.id)
        assert await is_expired(api, token)
        assert (await sign_in(api.http, user.email)).status_code == 200

    @pytest.mark.parametrize("purpose", [purpose for purpose in LinkPurpose if purpose != LinkPurpose.RESET_PASSWORD])
    async def test_a_link_for_another_purpose_is_refused_and_stays_usable(
        self, api: Api, desk: Desk, user: SignedInUser, purpose: LinkPurpose
    ) -> None:
        assert await is_expired(api, await issue_link(desk, user.id, user.email, purpose))
        assert len(await list_links(desk, user.id, purpose)) == 1

    async def test_a_link_of_another_organisation_is_refused(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser
    ) -> None:
        other = await create_desk(api, database)
        await issue_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        [link] = await list_links(desk, user.id)
        assert await is_expired(api, make_link_token(SECRET_KEY, other.id, link.id))
        assert (await reset(api.http, token_of(link))).status_code == 204

    async def test_forged_tokens_are_refused(self, api: Api, desk: Desk, token: str) -> None:
        signed = token.removeprefix(LINK_PREFIX)
        flipped = [
            signed[:at] + ("A" if signed[at] != "A" else "B") + signed[at + 1 :] for at in range(0, len(signed), 7)
        ]
        others = ["", "A", signed[:-4], signed + "AAAA", signed.lower(), "é", "=" * 76, "\ud800"]
        for forged in [LINK_PREFIX + text for text in flipped + others]:
            body = b'{"token": "' + forged.encode("ascii", "backslashreplace") + b'", "newPassword": "amber-otter-58"}'
            answer = await api.http.post(
                "/auth/password/reset", content=body, headers={"Content-Type": "application/json"}
            )
            outcomes = {(422, "link_expired"), (422, "invalid_input"), (400, "malformed_body")}
            assert (answer.status_code, answer.json()["code"]) in outcomes
        for forged in ("trt_" + signed, signed, make_link_token("x" * 40, desk.id, uuid4()), "x"):
            assert await is_expired(api, forged)
        assert (await reset(api.http, token)).status_code == 204

    @pytest.mark.parametrize("status", [status for status in AccountStatus if status != AccountStatus.ACTIVE])
    async def test_a_link_of_an_inactive_user_is_refused(
        self, api: Api, desk: Desk, user: SignedInUser, token: str, status: AccountStatus
    ) -> None:
        await update_user(desk, user.id, status=status)
        assert await is_expired(api, token)

    async def test_a_link_mailed_to_a_former_address_is_refused(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await update_user(desk, user.id, email=unique_email())
        assert await is_expired(api, token)

    async def test_a_link_of_a_suspended_organisation_is_refused(self, api: Api, desk: Desk, token: str) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        assert await is_expired(api, token)

    async def test_a_link_of_a_user_without_a_credential_is_refused(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(delete(Credential).where(Credential.org_id == desk.id, Credential.user_id == user.id))
        assert await is_expired(api, token)
        async with desk.database.session(desk.id) as db:
            left = await db.scalar(select(Link.id).where(Link.org_id == desk.id, Link.user_id == user.id))
        assert left is not None, "the refusal rolled its use back"

"""Mails to users about their accounts, and to admins about sign-up requests."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.user_permissions import RoleKind
from app.accounts.users.events import (
    EmailChanged,
    EmailClaimed,
    PasswordChanged,
    UserApproved,
    UserRejected,
    UserSignedUp,
)
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.sessions.events import SessionRevoked
from app.authentication.social.events import IdentityLinked
from app.core.database.pool import Database
from app.core.outbox.events import ReactionOnly, record
from app.notifications.account_mails import MAX_ADMINS, MAX_SIGN_UP_MAILS_PER_HOUR, mask
from tests.notifications.users import (
    add_user,
    execute_sql,
    make_event,
    read_mails_to,
    read_notification,
    record_and_relay,
    relay_events,
    unique_address,
)
from tests.organisation_client import Api, Desk, create_desk

EVERYTHING = ["TICKET_ASSIGNED", "TICKET_RESPONDED", "TICKET_CLOSING_SOON", "SIGN_UP_REQUESTS"]


def signed_up(user: User) -> Any:
    return make_event(UserSignedUp, user, role=RoleKind(user.role_kind), status=AccountStatus(user.status))


async def add_sign_up_request(desk: Desk, **columns: Any) -> User:
    """Add a user who has signed up and waits for approval."""
    return await add_user(desk, **{"role_kind": "ENGINEER", "status": "PENDING", **columns})


@pytest.mark.parametrize(
    ("kind", "subject", "said"),
    [
        (UserApproved, "Your account is ready", "You can now sign in"),
        (PasswordChanged, "Your password was changed", "If you did not change it, reset your password immediately"),
        (SecondFactorEnabled, "A second factor was set up", "signing in also requires a code"),
        (SecondFactorDisabled, "Your second factor was removed", "reset your password immediately"),
    ],
)
async def test_the_user_is_mailed_a_notice(desk: Desk, kind: type[Any], subject: str, said: str) -> None:
    user = await add_user(desk, muted=EVERYTHING)
    await record_and_relay(desk, make_event(kind, user))

    (mail,) = await read_mails_to(desk, user.email)

    assert (mail.channel, mail.status, mail.subject) == ("EMAIL", "QUEUED", f"[Growfin] {subject}")
    assert (mail.ticket_id, mail.link, mail.link_id) == (None, None, None)
    for part in (mail.body_text, mail.body_html or ""):
        assert said in part
        assert "at Growfin" in part
        assert "Mia" not in part


async def test_a_revoked_session_is_mailed_to_its_user(desk: Desk) -> None:
    user = await add_user(desk, muted=EVERYTHING)
    await record_and_relay(desk, make_event(SessionRevoked, user, session_id=user.id))

    (mail,) = await read_mails_to(desk, user.email)

    assert mail.subject == "[Growfin] One of your sessions was ended"
    assert "Please sign in again." in mail.body_text


async def test_a_new_way_to_sign_in_is_mailed_even_if_everything_is_muted(desk: Desk) -> None:
    user = await add_user(desk, muted=EVERYTHING)
    await record_and_relay(desk, make_event(IdentityLinked, user, provider="acme-sso"))

    (mail,) = await read_mails_to(desk, user.email)

    assert mail.subject == "[Growfin] A new way to sign in was added"
    for part in (mail.body_text, mail.body_html or ""):
        assert "with an account at acme-sso" in part
        assert "If that was not you" in part


@pytest.mark.parametrize("reason", ["We know no\n<b>Mia</b>.", None])
async def test_a_rejected_user_is_mailed_the_reason_if_there_is_one(desk: Desk, reason: str | None) -> None:
    user = await add_user(desk, status="REJECTED", status_reason=reason)
    await record_and_relay(desk, make_event(UserRejected, user))

    (mail,) = await read_mails_to(desk, user.email)

    assert mail.subject == "[Growfin] Your request was declined"
    assert ("We know no\n<b>Mia</b>." in mail.body_text) == (reason is not None)
    assert ("We know no<br>\n&lt;b&gt;Mia&lt;/b&gt;." in (mail.body_html or "")) == (reason is not None)
    for part in (mail.body_text, mail.body_html or ""):
        assert ("Reason:" in part) == (reason is not None)
        assert "None" not in part


@pytest.mark.parametrize(
    ("status", "said", "unsaid"),
    [
        ("ACTIVE", "Sign in with your password", "invit"),
        ("INVITED", "Open the link in your invitation", "Sign in with"),
    ],
)
async def test_the_owner_of_a_claimed_address_is_mailed(desk: Desk, status: str, said: str, unsaid: str) -> None:
    user = await add_user(desk, status=status, muted=EVERYTHING)
    await record_and_relay(desk, *[make_event(EmailClaimed, user)] * 3)

    (mail,) = await read_mails_to(desk, user.email)  # one for three equal events of one batch

    assert mail.subject == "[Growfin] You already have an account"
    assert (mail.link, mail.link_id) == (None, None)
    for part in (mail.body_text, mail.body_html or ""):
        assert said in part
        assert unsaid not in part


async def test_different_notices_of_one_batch_are_mailed_in_order(desk: Desk) -> None:
    user = await add_user(desk)
    await record_and_relay(desk, make_event(UserApproved, user), make_event(PasswordChanged, user))

    mails = await read_mails_to(desk, user.email)

    assert [mail.subject.removeprefix("[Growfin] ") for mail in mails] == [
        "Your account is ready",
        "Your password was changed",
    ]


@pytest.mark.parametrize("columns", [{"status": "ERASED"}, {"email": "0190@erased.invalid"}])
async def test_an_erased_user_is_mailed_nothing(desk: Desk, columns: dict[str, Any]) -> None:
    user = await add_user(desk, **columns)
    await record_and_relay(desk, make_event(PasswordChanged, user), make_event(UserApproved, user))

    assert await read_mails_to(desk, user.email) == []


async def test_the_mail_to_the_old_address_masks_the_new_address(desk: Desk) -> None:
    old, new = unique_address(), f"augusta.{unique_address()}"
    user = await add_user(desk, email=new)
    await record_and_relay(desk, make_event(EmailChanged, user, old_email=ReactionOnly(old)))

    (mail,) = await read_mails_to(desk, old)
    read = await read_notification(desk, mail.id)

    assert mail.subject == "[Growfin] Your e-mail address was changed"
    assert (mail.link, mail.link_id) == (None, None)
    for part in (read["body"], read["bodyHtml"]):
        assert "a•••@customer.example" in part
        assert new.partition("@")[0] not in part
    assert await read_mails_to(desk, new) == []


async def test_the_mail_has_the_new_address_even_if_the_change_is_not_flushed_yet(desk: Desk) -> None:
    old, new = unique_address(), f"b{unique_address()}"
    user = await add_user(desk, email=old)
    async with desk.database.session(desk.id) as db:
        row = await db.get(User, (desk.id, user.id))
        assert row is not None
        row.email = new
        record(db, make_event(EmailChanged, user, old_email=ReactionOnly(old)))

    (mail,) = await read_mails_to(desk, old)

    assert "b•••@customer.example" in mail.body_text


async def test_an_erased_address_is_not_mailed(desk: Desk) -> None:
    user = await add_user(desk)
    await record_and_relay(desk, make_event(EmailChanged, user, old_email=ReactionOnly("0190@erased.invalid")))

    assert await read_mails_to(desk, "0190@erased.invalid") == []


@pytest.mark.parametrize(
    ("address", "shown_as"),
    [("ada@growfin.com", "a•••@growfin.com"), ("a@growfin.com", "a•••@growfin.com"), ('"a@b"@x.test', '"•••@x.test')],
)
def test_a_masked_address_has_its_first_character_and_its_domain(address: str, shown_as: str) -> None:
    assert mask(address) == shown_as


async def test_admins_are_mailed_who_has_signed_up_and_with_which_address(desk: Desk) -> None:
    bo = await desk.another_admin()
    others = [
        await add_user(desk, role_kind="ENGINEER"),
        await add_user(desk),
        await add_user(desk, role_kind="ADMIN", status="SUSPENDED"),
        await add_user(desk, role_kind="ADMIN", status="PENDING"),
        await add_user(desk, role_kind="ADMIN", muted=["SIGN_UP_REQUESTS"]),
    ]
    applicant = await add_sign_up_request(desk, first_name="Evelyn", last_name="Ekdahl")
    await record_and_relay(desk, signed_up(applicant))

    for admin in (desk.admin, bo):
        (mail,) = await read_mails_to(desk, admin.email)
        assert mail.subject == "[Growfin] New request for an account"
        for part in (mail.body_text, mail.body_html or ""):
            assert "as engineer" in part
            assert "GET /users?status=PENDING" in part
            assert "Approve only users you know" in part
            assert "Evelyn Ekdahl" in part
            assert applicant.email in part
            assert "(not confirmed yet)" in part
    for user in (*others, applicant):
        assert await read_mails_to(desk, user.email) == []


async def test_a_sign_up_request_does_not_name_a_user_who_was_erased(desk: Desk) -> None:
    applicant = await add_sign_up_request(desk, first_name="Evelyn", last_name="Ekdahl")
    await record_and_relay(desk, signed_up(applicant))
    assert (await desk.admin.delete(f"/users/{applicant.id}")).status_code == 204

    (mail,) = await read_mails_to(desk, desk.admin.email)
    for part in (mail.body_text, mail.body_html or ""):
        assert [word for word in ("Evelyn", "Ekdahl", applicant.email) if word in part] == []


async def test_sign_ups_that_need_no_approval_are_not_mailed_to_admins(desk: Desk) -> None:
    customer, approved = await add_user(desk), await add_sign_up_request(desk)
    happened = signed_up(approved)
    await execute_sql(desk, "UPDATE users SET status = 'ACTIVE' WHERE org_id = :org AND id = :id", id=approved.id)
    await record_and_relay(desk, signed_up(customer), happened)

    assert await read_mails_to(desk, desk.admin.email) == []


async def test_at_most_max_admins_are_mailed(desk: Desk) -> None:
    statement = """
        INSERT INTO users (org_id, id, first_name, last_name, email, role_kind, status, available, created_at)
        SELECT :org, gen_random_uuid(), 'A', 'B', 'many' || n || '@growfin.test', 'ADMIN', 'ACTIVE', false, p.created_at
        FROM generate_series(1, :many) AS n, users AS p WHERE p.org_id = :org
    """
    await execute_sql(desk, statement, many=MAX_ADMINS)
    await record_and_relay(desk, signed_up(await add_sign_up_request(desk)))

    told = [await read_mails_to(desk, f"many{n}@growfin.test") for n in range(1, MAX_ADMINS + 1)]

    assert sum(map(len, told)) + len(await read_mails_to(desk, desk.admin.email)) == MAX_ADMINS


async def test_each_admin_is_mailed_a_limited_number_of_requests_per_hour(desk: Desk) -> None:
    await record_and_relay(
        desk, *[signed_up(await add_sign_up_request(desk)) for _ in range(MAX_SIGN_UP_MAILS_PER_HOUR - 1)]
    )
    bo = await desk.another_admin()  # was mailed none of them
    applicant = [signed_up(await add_sign_up_request(desk)) for _ in range(3)]
    await record_and_relay(desk, *applicant)
    await record_and_relay(desk, signed_up(await add_sign_up_request(desk)))
    told = {admin.email: len(await read_mails_to(desk, admin.email)) for admin in (desk.admin, bo)}
    assert told == {desk.admin.email: MAX_SIGN_UP_MAILS_PER_HOUR, bo.email: 4}

    long_ago = "UPDATE mails SET created_at = created_at - interval '61 minutes' WHERE org_id = :org"
    await execute_sql(desk, long_ago)
    await record_and_relay(desk, signed_up(await add_sign_up_request(desk)))
    assert len(await read_mails_to(desk, desk.admin.email)) == MAX_SIGN_UP_MAILS_PER_HOUR + 1


async def test_other_mails_to_an_admin_do_not_count_against_the_limit(desk: Desk) -> None:
    admin = await add_user(desk, role_kind="ADMIN")
    for _ in range(MAX_SIGN_UP_MAILS_PER_HOUR):
        await record_and_relay(desk, make_event(PasswordChanged, admin))
    await record_and_relay(desk, signed_up(await add_sign_up_request(desk)))
    subjects = [mail.subject for mail in await read_mails_to(desk, admin.email)]
    assert len(subjects) == MAX_SIGN_UP_MAILS_PER_HOUR + 1
    assert subjects[-1] == "[Growfin] New request for an account"


async def test_another_organisations_admins_are_mailed_nothing(desk: Desk, api: Api, database: Database) -> None:
    stranger = await create_desk(api, database)
    await record_and_relay(desk, signed_up(await add_sign_up_request(desk)))
    await relay_events(stranger)

    assert len(await read_mails_to(desk, desk.admin.email)) == 1
    assert await read_mails_to(stranger, stranger.admin.email) == []

"""What users are told about their accounts, and admins about who asks for one."""

from __future__ import annotations

from typing import Any

import pytest

from app.accounts.users.events import (
    EmailChanged,
    EmailClaimed,
    PasswordChanged,
    UserApproved,
    UserRejected,
    UserSignedUp,
)
from app.accounts.users.models import User
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.sessions.events import SessionRevoked
from app.authentication.social.events import IdentityLinked
from app.core.database.pool import Database
from app.core.outbox.events import record
from app.notifications.account_mails import MAX_ADMINS, MAX_REQUESTS, masked
from tests.notifications.users import an_address, deliveries_to, happen, news, relay_events, rewrite, shown, somebody
from tests.organisation_client import Api, Desk, create_desk

EVERYTHING = ["TICKET_ASSIGNED", "TICKET_ANSWERED", "TICKET_CLOSING_SOON", "SIGN_UP_REQUESTS"]


def signed_up(user: User) -> Any:
    return news(UserSignedUp, user, role=user.role, status=user.status)


async def a_request(desk: Desk, **columns: Any) -> User:
    """Somebody who has signed up and waits for approval."""
    return await somebody(desk, **{"role": "ENGINEER", "status": "PENDING", **columns})


@pytest.mark.parametrize(
    ("kind", "subject", "said"),
    [
        (UserApproved, "Your account is ready", "you can sign in now"),
        (PasswordChanged, "Your password was changed", "If it was not you, reset your password at once"),
        (SecondFactorEnabled, "A second factor is asked for now", "is asked for a code as well from now on"),
        (SecondFactorDisabled, "No second factor is asked for any more", "If it was not you, reset your password"),
    ],
)
async def test_the_user_is_told(desk: Desk, kind: type[Any], subject: str, said: str) -> None:
    user = await somebody(desk, muted=EVERYTHING)
    await happen(desk, news(kind, user))

    (mail,) = await deliveries_to(desk, user.email)

    assert (mail.channel, mail.status, mail.subject) == ("EMAIL", "QUEUED", f"[Growfin] {subject}")
    assert (mail.ticket_id, mail.link, mail.link_id) == (None, None, None)
    for part in (mail.body_text, mail.body_html or ""):
        assert said in part
        assert "at Growfin" in part
        assert "Mia" not in part


async def test_a_session_that_was_continued_twice_is_told_of(desk: Desk) -> None:
    user = await somebody(desk, muted=EVERYTHING)
    await happen(desk, news(SessionRevoked, user, session_id=user.id))

    (mail,) = await deliveries_to(desk, user.email)

    assert mail.subject == "[Growfin] One of your sessions was ended"
    assert "Please sign in again." in mail.body_text


async def test_a_further_way_to_sign_in_is_told_of_whatever_is_muted(desk: Desk) -> None:
    user = await somebody(desk, muted=EVERYTHING)
    await happen(desk, news(IdentityLinked, user, provider="acme-sso"))

    (mail,) = await deliveries_to(desk, user.email)

    assert mail.subject == "[Growfin] Another way to sign in was added"
    for part in (mail.body_text, mail.body_html or ""):
        assert "with an account at acme-sso from now on" in part
        assert "If it was not you" in part


@pytest.mark.parametrize("reason", ["We know no\n<b>Mia</b>.", None])
async def test_who_is_rejected_is_told_why_if_there_is_a_reason(desk: Desk, reason: str | None) -> None:
    user = await somebody(desk, status="REJECTED", status_reason=reason)
    await happen(desk, news(UserRejected, user))

    (mail,) = await deliveries_to(desk, user.email)

    assert mail.subject == "[Growfin] Your request was declined"
    assert ("We know no\n<b>Mia</b>." in mail.body_text) == (reason is not None)
    assert ("We know no<br>\n&lt;b&gt;Mia&lt;/b&gt;." in (mail.body_html or "")) == (reason is not None)
    for part in (mail.body_text, mail.body_html or ""):
        assert ("This is why" in part) == (reason is not None)
        assert "None" not in part


@pytest.mark.parametrize(
    ("status", "said", "unsaid"),
    [("ACTIVE", "sign in with your password", "invit"), ("INVITED", "open the link in the invitation", "sign in with")],
)
async def test_the_owner_of_an_address_is_told_that_somebody_tried_it(
    desk: Desk, status: str, said: str, unsaid: str
) -> None:
    user = await somebody(desk, status=status, muted=EVERYTHING)
    await happen(desk, *[news(EmailClaimed, user)] * 3)

    (mail,) = await deliveries_to(desk, user.email)  # one for the three of a moment

    assert mail.subject == "[Growfin] You already have an account"
    assert (mail.link, mail.link_id) == (None, None)
    for part in (mail.body_text, mail.body_html or ""):
        assert said in part
        assert unsaid not in part


async def test_different_news_of_one_moment_are_all_told_in_their_order(desk: Desk) -> None:
    user = await somebody(desk)
    await happen(desk, news(UserApproved, user), news(PasswordChanged, user))

    mails = await deliveries_to(desk, user.email)

    assert [mail.subject.removeprefix("[Growfin] ") for mail in mails] == [
        "Your account is ready",
        "Your password was changed",
    ]


@pytest.mark.parametrize("columns", [{"status": "ERASED"}, {"email": "0190@erased.invalid"}])
async def test_nobody_writes_to_who_was_erased(desk: Desk, columns: dict[str, Any]) -> None:
    user = await somebody(desk, **columns)
    await happen(desk, news(PasswordChanged, user), news(UserApproved, user))

    assert await deliveries_to(desk, user.email) == []


async def test_the_old_address_is_told_of_the_new_one_but_not_what_it_is(desk: Desk) -> None:
    old, new = an_address(), f"augusta.{an_address()}"
    user = await somebody(desk, email=new)
    await happen(desk, news(EmailChanged, user, old_email=old))

    (mail,) = await deliveries_to(desk, old)
    read = await shown(desk, mail.id)

    assert mail.subject == "[Growfin] Your e-mail address was changed"
    assert (mail.link, mail.link_id) == (None, None)
    for part in (read["body"], read["bodyHtml"]):
        assert "a•••@customer.example" in part
        assert new.partition("@")[0] not in part
    assert await deliveries_to(desk, new) == []


async def test_the_old_address_is_told_even_where_the_change_waits_to_be_written(desk: Desk) -> None:
    old, new = an_address(), f"b{an_address()}"
    user = await somebody(desk, email=old)
    async with desk.database.session(desk.id) as db:
        row = await db.get(User, (desk.id, user.id))
        assert row is not None
        row.email = new
        record(db, news(EmailChanged, user, old_email=old))

    (mail,) = await deliveries_to(desk, old)

    assert "b•••@customer.example" in mail.body_text


async def test_an_address_that_was_nobodys_is_not_told(desk: Desk) -> None:
    user = await somebody(desk)
    await happen(desk, news(EmailChanged, user, old_email="0190@erased.invalid"))

    assert await deliveries_to(desk, "0190@erased.invalid") == []


@pytest.mark.parametrize(
    ("address", "shown_as"),
    [("ada@growfin.com", "a•••@growfin.com"), ("a@growfin.com", "a•••@growfin.com"), ('"a@b"@x.test', '"•••@x.test')],
)
def test_a_masked_address_has_its_first_character_and_its_domain(address: str, shown_as: str) -> None:
    assert masked(address) == shown_as


async def test_the_admins_are_told_that_somebody_waits_for_their_approval_and_not_who(desk: Desk) -> None:
    bo = await desk.another_admin()
    others = [
        await somebody(desk, role="ENGINEER"),
        await somebody(desk),
        await somebody(desk, role="ADMIN", status="SUSPENDED"),
        await somebody(desk, role="ADMIN", status="PENDING"),
        await somebody(desk, role="ADMIN", muted=["SIGN_UP_REQUESTS"]),
    ]
    asking = await a_request(desk, first_name="Evelyn", last_name="Ekdahl")
    await happen(desk, signed_up(asking))

    for admin in (desk.admin, bo):
        (mail,) = await deliveries_to(desk, admin.email)
        assert mail.subject == "[Growfin] Somebody asks for an account"
        for part in (mail.body_text, mail.body_html or ""):
            assert "as engineer" in part
            assert "GET /users?status=PENDING" in part
            assert "Approve only whom you know" in part
            assert "emailVerified" in part
            # Or the log would go on naming them once they are erased.
            assert [word for word in ("Evelyn", "Ekdahl", asking.email, str(asking.id)) if word in part] == []
    for user in (*others, asking):
        assert await deliveries_to(desk, user.email) == []


async def test_who_needs_no_approval_or_has_it_already_is_no_news_to_the_admins(desk: Desk) -> None:
    customer, approved = await somebody(desk), await a_request(desk)
    happened = signed_up(approved)
    await rewrite(desk, "UPDATE users SET status = 'ACTIVE' WHERE org_id = :org AND id = :id", id=approved.id)
    await happen(desk, signed_up(customer), happened)

    assert await deliveries_to(desk, desk.admin.email) == []


async def test_only_so_many_admins_are_told(desk: Desk) -> None:
    statement = """
        INSERT INTO users (org_id, id, first_name, last_name, email, role, status, available, created_at)
        SELECT :org, gen_random_uuid(), 'A', 'B', 'many' || n || '@growfin.test', 'ADMIN', 'ACTIVE', false, p.created_at
        FROM generate_series(1, :many) AS n, users AS p WHERE p.org_id = :org
    """
    await rewrite(desk, statement, many=MAX_ADMINS)
    await happen(desk, signed_up(await a_request(desk)))

    told = [await deliveries_to(desk, f"many{n}@growfin.test") for n in range(1, MAX_ADMINS + 1)]

    assert sum(map(len, told)) + len(await deliveries_to(desk, desk.admin.email)) == MAX_ADMINS


async def test_each_admin_is_told_so_many_times_in_an_hour(desk: Desk) -> None:
    await happen(desk, *[signed_up(await a_request(desk)) for _ in range(MAX_REQUESTS - 1)])
    bo = await desk.another_admin()  # who has been told of none
    asking = [signed_up(await a_request(desk)) for _ in range(3)]
    await happen(desk, *asking)
    await happen(desk, signed_up(await a_request(desk)))
    told = {admin.email: len(await deliveries_to(desk, admin.email)) for admin in (desk.admin, bo)}
    assert told == {desk.admin.email: MAX_REQUESTS, bo.email: 4}

    long_ago = "UPDATE deliveries SET created_at = created_at - interval '61 minutes' WHERE org_id = :org"
    await rewrite(desk, long_ago)
    await happen(desk, signed_up(await a_request(desk)))
    assert len(await deliveries_to(desk, desk.admin.email)) == MAX_REQUESTS + 1


async def test_other_mails_to_an_admin_do_not_count(desk: Desk) -> None:
    admin = await somebody(desk, role="ADMIN")
    for _ in range(MAX_REQUESTS):
        await happen(desk, news(PasswordChanged, admin))
    await happen(desk, signed_up(await a_request(desk)))
    subjects = [mail.subject for mail in await deliveries_to(desk, admin.email)]
    assert len(subjects) == MAX_REQUESTS + 1
    assert subjects[-1] == "[Growfin] Somebody asks for an account"


async def test_another_organisations_admins_are_told_nothing(desk: Desk, api: Api, database: Database) -> None:
    stranger = await create_desk(api, database)
    await happen(desk, signed_up(await a_request(desk)))
    await relay_events(stranger)

    assert len(await deliveries_to(desk, desk.admin.email)) == 1
    assert await deliveries_to(stranger, stranger.admin.email) == []

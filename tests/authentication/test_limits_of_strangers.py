"""What strangers do uses up no limit that a user needs."""

from __future__ import annotations

from app.access.attempt_limits import EMAIL_CHANGE_LIMIT
from app.core.clock import real_now
from app.core.database.pool import Database
from tests.accounts.sign_up.test_public_sign_up import body_for
from tests.accounts.stored_rows import list_links
from tests.authentication.account_state import age_session, remove_password, update_user
from tests.authentication.email_addresses.test_email_change import WRONG, request_change
from tests.organisation_client import PASSWORD, Desk, SignedInUser, create_desk
from tests.services import Start, create_user, unique_email


async def test_sign_ups_in_one_organisation_do_not_hinder_the_owner_of_the_address_in_others(
    start: Start, desk: Desk, database: Database
) -> None:
    service, email = await start(), unique_email()
    attacker, victim = service.at("203.0.113.66"), service.at("198.51.100.7")
    own = await create_desk(service.api, database)
    statuses = [(await attacker.post("/auth/signup", json=body_for(own, email))).status_code for _ in range(6)]
    assert statuses == [201] * 5 + [429]
    assert (await victim.post("/auth/signup", json=body_for(desk, email))).status_code == 201
    assert [link.email for link in await list_links(desk)] == [email]
    # Not even in the same organisation.
    assert (await victim.post("/auth/signup", json=body_for(own, email))).status_code == 201


async def test_mails_to_one_address_from_many_organisations_are_bounded_per_network(
    start: Start, desk: Desk, database: Database
) -> None:
    service, email = await start(mail_limit="2/15 minutes"), unique_email()
    attacker, victim = service.at("203.0.113.66"), service.at("198.51.100.7")
    desks = [await create_desk(service.api, database) for _ in range(3)]
    for one in desks:
        answer = await attacker.post("/auth/signup", json=body_for(one, email))
        assert answer.status_code == 201, "the response does not reveal whether a mail is sent"
    assert [len(await list_links(one)) for one in desks] == [1, 1, 0]
    assert (await victim.post("/auth/signup", json=body_for(desk, email))).status_code == 201
    assert [link.email for link in await list_links(desk)] == [email]
    # The account without a mail can still be verified.
    resend = {"email": email, "org": desks[2].domain}
    assert (await victim.post("/auth/email/resend", json=resend)).status_code == 202
    assert len(await list_links(desks[2])) == 1


async def test_mails_that_the_owner_of_an_address_has_not_asked_for_are_bounded_over_all_networks(
    start: Start, desk: Desk, database: Database
) -> None:
    service, email = await start(address_mail_limit="2/hour"), unique_email()
    desks = [await create_desk(service.api, database) for _ in range(3)]
    for number, one in enumerate(desks):
        answer = await service.at(f"203.0.113.{number}").post("/auth/signup", json=body_for(one, email))
        assert answer.status_code == 201, "the response does not reveal whether a mail is sent"
    assert [len(await list_links(one)) for one in desks] == [1, 1, 0]
    # Not to the user of an account that has the address.
    user = await create_user(desk, email=email)
    await update_user(desk, user.id, email_verified_at=real_now())
    forgotten = {"email": email, "org": desk.domain}
    assert (await service.at("198.51.100.7").post("/auth/password/forgot", json=forgotten)).status_code == 202
    assert [link.email for link in await list_links(desk)] == [email]


async def test_requests_for_an_address_do_not_hinder_its_owner(start: Start, desk: Desk) -> None:
    new_email = unique_email()
    service, user = await start(), await create_user(desk)
    attacker = SignedInUser(user.id, user.email, service.at("203.0.113.66"), user.headers, user.session_id)
    statuses = [(await request_change(attacker, new_email)).status_code for _ in range(6)]
    assert statuses == [202] * 5 + [429]
    body = {"org": desk.domain, "firstName": "Mia", "email": new_email, "password": PASSWORD}
    for _ in range(2):  # the owner may even share the attacker's network
        assert (await service.at("203.0.113.66").post("/auth/signup", json=body)).status_code == 201
    other = await create_user(desk)
    owner = SignedInUser(other.id, other.email, service.at("198.51.100.7"), other.headers, other.session_id)
    assert (await request_change(owner, new_email)).status_code == 202


async def test_a_client_with_only_a_token_cannot_use_up_the_users_changes(start: Start, desk: Desk) -> None:
    new_email = unique_email()
    service, user = await start(), await create_user(desk)
    thief = SignedInUser(user.id, user.email, service.at("203.0.113.66"), user.headers, user.session_id)
    owner = SignedInUser(user.id, user.email, service.at("198.51.100.7"), user.headers, user.session_id)
    statuses = {(await request_change(thief, new_email, WRONG)).status_code for _ in range(7)}
    assert statuses == {403}
    # Beyond the limit of wrong passwords, no password is looked at.
    changes = int(EMAIL_CHANGE_LIMIT.partition("/")[0])
    addresses = [new_email] * 6 + [unique_email() for _ in range(changes + 4)]
    statuses = {(await request_change(thief, address, WRONG)).status_code for address in addresses}
    assert statuses == {403, 429}
    assert (await request_change(owner, new_email)).status_code == 202


async def test_a_token_without_a_fresh_sign_in_cannot_use_up_the_users_changes(start: Start, desk: Desk) -> None:
    service, user = await start(sign_in_limit="1000/minute"), await create_user(desk)
    await remove_password(desk, user.id)
    await age_session(desk, user.session_id)
    thief = SignedInUser(user.id, user.email, service.at("203.0.113.66"), user.headers, user.session_id)
    changes = int(EMAIL_CHANGE_LIMIT.partition("/")[0])
    answers = [await request_change(thief, unique_email(), None) for _ in range(changes + 1)]
    assert {answer.json()["code"] for answer in answers} == {"reauthentication_required"}


async def test_one_account_cannot_mail_to_many_addresses(start: Start, desk: Desk) -> None:
    service, mails = await start(sign_in_limit="1000/minute"), int(EMAIL_CHANGE_LIMIT.partition("/")[0])
    user = await create_user(desk)
    await remove_password(desk, user.id)  # hashing passwords takes long
    attacker = SignedInUser(user.id, user.email, service.at("203.0.113.66"), user.headers, user.session_id)
    answers = [await request_change(attacker, unique_email(), None) for _ in range(mails + 1)]
    assert [answer.status_code for answer in answers] == [202] * mails + [429]

"""Addresses of requesters that RFC 5322 does not allow without quotes, from the ticket to the mail server."""

from __future__ import annotations

from email import message_from_bytes
from typing import cast
from uuid import uuid4

import pytest

from app.core.database.pool import Database
from app.core.email_addresses import normalise_requester_email
from tests.conftest import settings_for
from tests.notifications.scripted_smtp_server import MAIL_FROM, ScriptedSmtpServer
from tests.organisation_client import Desk
from tests.postgres import TestServer
from tests.problems import read_invalid_fields
from tests.tickets.rows import skip_earlier_work


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("aaa..b@docomo.ne.jp", "aaa..b@docomo.ne.jp"),
        ("aaa.@ezweb.ne.jp", "aaa.@ezweb.ne.jp"),
        ("aaa.b.@docomo.ne.jp", "aaa.b.@docomo.ne.jp"),
        ('"aaa..b"@docomo.ne.jp', "aaa..b@docomo.ne.jp"),
        ("Aaa..B@DOCOMO.ne.jp", "aaa..b@docomo.ne.jp"),
        ('"mia"@customer.example', "mia@customer.example"),
    ],
)
async def test_a_requester_with_odd_dots_opens_a_ticket_and_gets_the_reply(
    desk: Desk, server: TestServer, smtp_server: ScriptedSmtpServer, address: str, stored: str
) -> None:
    ticket = await desk.open(requester={"email": address})
    assert ticket["requester"]["email"] == stored
    assert (await desk.admin.get("/tickets", params={"requester": address})).json()["items"] == [ticket]
    assert (await desk.admin.get("/tickets", params={"customerEmail": address})).json()["items"] == [ticket]

    await desk.respond(ticket)
    await desk.work(settings_for(server, smtp_url=smtp_server.url(), mail_from=MAIL_FROM))

    (mail,) = [mail for mail in smtp_server.mails if mail.rcpt_tos == [stored]]
    to = message_from_bytes(cast("bytes", mail.content))["To"]
    quoted = '"{}"@{}'.format(*stored.split("@")) if ".." in stored or ".@" in stored else stored
    assert to == quoted


@pytest.mark.parametrize("path", ["/auth/admin/signup", "/auth/signup", "/users"])
async def test_accounts_need_an_address_that_every_server_takes(desk: Desk, path: str) -> None:
    body = {"firstName": "Mia", "email": "aaa..b@docomo.ne.jp", "password": f"{uuid4()}"}
    answer = await desk.api.http.post(path, json=body, headers={"X-Org-Secret": desk.secret})
    if path == "/users":
        answer = await desk.admin.post(path, {"firstName": "Mia", "email": body["email"], "role": "CUSTOMER"})
    assert "email" in read_invalid_fields(answer)


@pytest.mark.parametrize(
    "address",
    ["..@", "@docomo.ne.jp", '"a b"@x.com', 'a"b@x.com', "a..b@", "a..b@1.2.3.4", "a..b@x..com", f"{'a.' * 40}@x.com",
     "a..b@erased.invalid", '""@x.com', "a..b@@x.com", '"a..b@x.com'],
)  # fmt: skip
async def test_other_addresses_are_refused(desk: Desk, address: str) -> None:
    body = {"title": "It broke", "description": "All of it.", "requester": {"email": address}}
    answer = await desk.api.http.post("/tickets", json=body, headers={"X-Org-Secret": desk.secret})
    assert read_invalid_fields(answer) == {"requester.email"}


def test_an_ordinary_address_is_normalised_as_for_accounts() -> None:
    assert normalise_requester_email("Mia.Holm+x@Customer.Example") == "mia.holm+x@customer.example"

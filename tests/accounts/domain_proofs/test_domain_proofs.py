"""Prove domains by DNS and by e-mail."""

from __future__ import annotations

from uuid import uuid4

import dns.rcode
import pytest
from sqlalchemy import update

from app.core.config import Settings
from app.organisations.models import Organisation
from tests.accounts.domain_proofs.proving import (
    PATH,
    confirm,
    list_events,
    prove,
    read_organisation,
    request_link,
    set_record,
    unique_domain,
)
from tests.dns_server import DnsServer
from tests.notifications.users import read_files_to
from tests.organisation_client import Desk
from tests.problems import assert_problem, read_invalid_fields
from tests.tickets.users import add_engineer

# --- by DNS ----------------------------------------------------------------------------------------------------------


async def test_a_txt_record_proves_the_organisations_domain(desk: Desk, dns_server: DnsServer) -> None:
    assert (await read_organisation(desk))["domainVerifiedAt"] is None
    await set_record(dns_server, desk.admin, desk.domain)

    answer = await desk.admin.post(PATH, {"method": "DNS"})

    assert answer.status_code == 200
    assert answer.json()["domain"] == desk.domain
    assert answer.json()["verifiedAt"] == (await read_organisation(desk))["domainVerifiedAt"]
    expected = {"domain": desk.domain, "method": "DNS", "previousDomain": desk.domain}
    assert await list_events(desk, "organisation.domain_verified") == [expected]
    assert (await desk.admin.post(PATH, {"method": "DNS"})).json() == answer.json()
    assert len(await list_events(desk, "organisation.domain_verified")) == 1


async def test_the_record_is_the_same_each_time_and_another_one_for_each_organisation(desk: Desk, rival: Desk) -> None:
    domain = unique_domain()
    own, again, other = [
        (await admin.get("/org/domain", params={"domain": domain})).json()["record"]
        for admin in (desk.admin, desk.admin, rival.admin)
    ]

    assert own == again
    assert own["type"] == "TXT"
    assert own["name"] == other["name"] == f"_tessera-challenge.{domain}"
    assert own["value"] != other["value"]


async def test_without_the_record_nothing_is_proved(desk: Desk, rival: Desk, dns_server: DnsServer) -> None:
    problem = assert_problem(await desk.admin.post(PATH, {"method": "DNS"}), 409, "domain_not_proved")
    assert f"_tessera-challenge.{desk.domain}" in problem["detail"]
    await set_record(dns_server, rival.admin, desk.domain)  # the record of another organisation
    assert_problem(await desk.admin.post(PATH, {"method": "DNS"}), 409, "domain_not_proved")

    assert (await read_organisation(desk))["domainVerifiedAt"] is None


async def test_a_name_server_that_fails_is_reported_as_unavailable(desk: Desk, dns_server: DnsServer) -> None:
    dns_server.rcode = dns.rcode.SERVFAIL
    try:
        answer = await desk.admin.post(PATH, {"method": "DNS"})
    finally:
        dns_server.rcode = dns.rcode.NOERROR

    assert_problem(answer, 503, "dns_unavailable")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("domain", ["com", "co.uk", "localhost", "x.displaced.invalid", "not a domain", None, 5])
async def test_a_domain_that_nobody_can_own_is_refused(desk: Desk, domain: object) -> None:
    for method in ("DNS", "EMAIL"):
        answer = await desk.admin.post(PATH, {"method": method, "domain": domain})
        assert read_invalid_fields(answer) == {"domain"}


async def test_a_domain_that_nobody_can_own_is_refused_even_if_it_is_the_organisations(desk: Desk) -> None:
    async with desk.database.session(desk.id) as db:  # as if it had signed up before such domains were refused
        await db.execute(update(Organisation).where(Organisation.id == desk.id).values(domain=f"d{uuid4().hex}"))

    for method in ("DNS", "EMAIL"):
        answer = await desk.admin.post(PATH, {"method": method})
        assert read_invalid_fields(answer) == {"domain"}


async def test_a_domain_that_is_too_long_for_the_record_is_not_proved(desk: Desk) -> None:
    domain = ".".join(["a" * 60] * 4) + ".test"
    assert_problem(await desk.admin.post(PATH, {"method": "DNS", "domain": domain}), 409, "domain_not_proved")


async def test_only_admins_prove_domains(desk: Desk) -> None:
    engineer = await add_engineer(desk)
    for answer in (
        await engineer.post(PATH, {"method": "EMAIL"}),
        await engineer.get("/org/domain"),
        await desk.api.http.post(PATH, json={"method": "EMAIL"}, headers={"X-Org-Secret": desk.secret}),
    ):
        assert answer.status_code == 403


async def test_lookups_are_limited(desk: Desk) -> None:
    answers = [await desk.admin.post(PATH, {"method": "DNS"}) for _ in range(61)]

    assert {answer.status_code for answer in answers[:60]} == {409}
    assert_problem(answers[60], 429, "rate_limited")
    assert answers[60].headers["ratelimit"].startswith('"domain-proofs";r=0;')
    assert answers[0].headers["ratelimit"].startswith('"domain-proofs";r=59;')


# --- by e-mail -------------------------------------------------------------------------------------------------------


async def test_a_link_mailed_to_the_postmaster_proves_the_domain_once(desk: Desk, settings: Settings) -> None:
    await desk.admin.patch("/org", {"appUrl": "https://evil.example", "supportEmail": "eve@evil.example"})
    token = await request_link(desk, settings, desk.domain)

    answer = await confirm(desk, token)

    assert (answer.status_code, answer.json()) == (200, {"domain": desk.domain})
    assert (await read_organisation(desk))["domainVerifiedAt"] is not None
    assert [one["method"] for one in await list_events(desk, "organisation.domain_verified")] == ["EMAIL"]
    again = await confirm(desk, token)
    assert_problem(again, 422, "link_expired")
    assert '"recovery";r=' in again.headers["ratelimit"]
    assert len(read_files_to(settings, f"admin@{desk.domain}")) == 1


async def test_the_mail_to_the_postmaster_is_not_in_the_organisations_hand(desk: Desk, settings: Settings) -> None:
    await desk.admin.patch("/org", {"appUrl": "https://evil.example", "supportEmail": "eve@evil.example"})
    token = await request_link(desk, settings, desk.domain)

    (mail,) = read_files_to(settings, f"postmaster@{desk.domain}")
    log = [one for one in (await desk.admin.get("/notifications")).json()["items"] if one["to"] != desk.admin.email]
    details = [(await desk.admin.get(f"/notifications/{one['id']}")).text for one in log]

    assert "evil.example" not in mail.as_string()
    assert mail["From"] == "Tessera <tessera@localhost>"
    assert mail["Reply-To"] is None
    assert len(details) == 2
    assert not [text for text in details if token in text]


async def test_a_proof_ends_the_other_links(desk: Desk, dns_server: DnsServer, settings: Settings) -> None:
    token = await request_link(desk, settings, unique_domain())
    await prove(dns_server, desk, desk.domain)

    assert_problem(await confirm(desk, token), 422, "link_expired")


async def test_mails_go_to_few_domains(desk: Desk) -> None:
    first, *_others = domains = [unique_domain() for _ in range(4)]
    answers = [await desk.admin.post(PATH, {"method": "EMAIL", "domain": domain}) for domain in domains]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["ratelimit"].startswith('"mailed-domains";r=0;')
    assert (await desk.admin.post(PATH, {"method": "EMAIL", "domain": first})).status_code == 200


async def test_mails_to_a_domain_are_limited(desk: Desk) -> None:
    domain = unique_domain()
    answers = [await desk.admin.post(PATH, {"method": "EMAIL", "domain": domain}) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["ratelimit"].startswith('"domain-mail";r=0;')
    assert (await desk.admin.post(PATH, {"method": "EMAIL", "domain": unique_domain()})).status_code == 200

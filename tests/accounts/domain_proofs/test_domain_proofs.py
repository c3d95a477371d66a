"""Prove domains by DNS and by e-mail, and take over those that others have not proved."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import dns.rcode
import httpx
import pytest
from asgi_lifespan import LifespanManager
from sqlalchemy import select, text, update

from app.access.models import CredentialChange
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.main import create_app
from app.organisations.models import Organisation
from app.organisations.queries import lock_organisation
from tests.conftest import SECRET_KEY, settings_for
from tests.databases import eventually
from tests.dns_server import DnsServer, running_dns_server
from tests.notifications.users import get_parts, read_files_to, relay_events
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, start
from tests.tickets.rows import skip_earlier_work
from tests.tickets.users import add_engineer

__all__ = ["start"]

PATH = "/org/domain/verify"


@pytest.fixture(scope="module")
async def dns_server() -> AsyncIterator[DnsServer]:
    async with running_dns_server() as running:
        yield running


@pytest.fixture(scope="module")
async def api(server: TestServer, dns_server: DnsServer, database: Database) -> AsyncIterator[Api]:
    """A service that asks the test's name server."""
    await skip_earlier_work(database)
    app = create_app(settings_for(server, dns_server=dns_server.address))
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test") as client,
    ):
        yield Api(client, SECRET_KEY)


@pytest.fixture
async def desk(api: Api, database: Database) -> Desk:
    """An organisation whose credentials are cached: those of sandboxes are not."""
    return await create_desk(api, database, sandbox=False)


@pytest.fixture
async def rival(api: Api, database: Database) -> Desk:
    """Another organisation whose credentials are cached."""
    return await create_desk(api, database, sandbox=False, name="Rival")


@pytest.fixture
def settings(server: TestServer, tmp_path: Path) -> Settings:
    return settings_for(server, data_dir=tmp_path)


def unique_domain() -> str:
    return f"d{uuid4().hex}.test"


async def set_record(dns_server: DnsServer, admin: SignedInUser, domain: str) -> None:
    """Set the record that proves the domain for the admin's organisation, beside others."""
    record = (await admin.get("/org/domain", params={"domain": domain})).json()["record"]
    value: str = record["value"]
    dns_server.records[record["name"]] = ['"another record"', f'"{value[:9]}" "{value[9:]}"']


async def prove(dns_server: DnsServer, desk: Desk, domain: str) -> httpx.Response:
    await set_record(dns_server, desk.admin, domain)
    return await desk.admin.post(PATH, {"method": "DNS", "domain": domain})


async def read_organisation(desk: Desk) -> JSON:
    settings: JSON = (await desk.admin.get("/org")).json()
    return settings


async def list_events(desk: Desk, event_type: str) -> list[JSON]:
    conditions = (EventRow.org_id == desk.id, EventRow.type == event_type)
    async with desk.database.session(desk.id) as db:
        return list((await db.scalars(select(EventRow.data).where(*conditions).order_by(EventRow.seq))).all())


async def request_link(desk: Desk, settings: Settings, domain: str) -> str:
    """Ask for the mail that proves the domain; return the token in it."""
    answer = await desk.admin.post(PATH, {"method": "EMAIL", "domain": domain})
    assert answer.status_code == 200, answer.text
    assert answer.json()["mailedTo"] == [f"postmaster@{domain}", f"admin@{domain}"]
    await desk.work(settings)
    (mail,) = read_files_to(settings, f"postmaster@{domain}")
    plain, html = get_parts(mail)
    (link,) = re.findall(r"^\S+#token=\S+$", plain, re.MULTILINE)
    assert f'href="{link}"' in html
    assert link.startswith(f"{settings.base_url}/verify-domain#token=")
    return str(link.partition("#token=")[2])


async def wait_for_waiting(database: Database) -> None:
    """Wait until a transaction waits for the lock of an organisation."""
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")

    async def is_waiting() -> bool:
        async with database.session(None) as db:
            return bool(await db.scalar(waiting))

    assert await eventually(is_waiting)


async def confirm(desk: Desk, token: str) -> httpx.Response:
    return await desk.api.http.post("/org/domain/confirm", json={"token": token})


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
    log = (await desk.admin.get("/notifications")).json()["items"]
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


async def test_mails_to_a_domain_are_limited(desk: Desk) -> None:
    domain = unique_domain()
    answers = [await desk.admin.post(PATH, {"method": "EMAIL", "domain": domain}) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["ratelimit"].startswith('"domain-mail";r=0;')
    assert (await desk.admin.post(PATH, {"method": "EMAIL", "domain": unique_domain()})).status_code == 200


# --- taking over -----------------------------------------------------------------------------------------------------


async def test_a_proof_takes_a_domain_over_that_another_organisation_has_not_proved(
    desk: Desk, rival: Desk, dns_server: DnsServer
) -> None:
    domain = desk.domain
    ticket = await desk.open()

    answer = await prove(dns_server, rival, domain)

    assert answer.status_code == 200
    assert (await read_organisation(rival))["domain"] == domain
    placeholder = f"{desk.id.hex}.displaced.invalid"
    assert (await read_organisation(desk))["domain"] == placeholder
    assert (await desk.read(ticket))["reference"] == ticket["reference"]
    assert (await desk.open())["reference"] == ticket["reference"].replace("-1", "-2")
    assert await list_events(desk, "organisation.domain_lost") == [{"domain": domain, "newDomain": placeholder}]
    await relay_events(desk)
    (mail,) = [
        one
        for one in (await desk.admin.get("/notifications")).json()["items"]
        if one["subject"] == "[Growfin] Your domain was taken over"
    ]
    assert mail["to"] == desk.admin.email
    assert placeholder in (await desk.admin.get(f"/notifications/{mail['id']}")).json()["body"]


async def test_an_organisation_that_lost_its_domain_can_prove_another(
    desk: Desk, rival: Desk, dns_server: DnsServer
) -> None:
    ticket = await desk.open()
    await prove(dns_server, rival, desk.domain)
    domain = unique_domain()

    assert (await prove(dns_server, desk, domain)).status_code == 200

    assert (await read_organisation(desk))["domain"] == domain
    assert (await desk.read(ticket))["reference"] == ticket["reference"]


async def test_a_placeholder_is_not_proved_for_want_of_another_domain(
    desk: Desk, rival: Desk, dns_server: DnsServer
) -> None:
    await prove(dns_server, rival, desk.domain)

    for method in ("DNS", "EMAIL"):
        answer = await desk.admin.post(PATH, {"method": method})
        assert read_invalid_fields(answer) == {"domain"}
        assert "displaced.invalid" in answer.json()["errors"][0]["message"]


async def test_without_tickets_references_follow_the_domain_that_replaces_a_placeholder(
    desk: Desk, rival: Desk, dns_server: DnsServer
) -> None:
    await prove(dns_server, rival, desk.domain)
    assert (await prove(dns_server, desk, f"growfin.{uuid4().hex}.test")).status_code == 200

    assert (await desk.open())["reference"] == "GROWFIN-1"


async def test_no_domain_is_lost_to_a_link_that_ends_while_it_is_used(
    desk: Desk, rival: Desk, dns_server: DnsServer, settings: Settings
) -> None:
    token = await request_link(rival, settings, desk.domain)
    async with desk.database.session(desk.id) as db:
        await lock_organisation(db, desk.id)  # the proof waits before it displaces the holder
        confirming = asyncio.create_task(confirm(rival, token))
        await wait_for_waiting(desk.database)
        assert (await prove(dns_server, rival, unique_domain())).status_code == 200  # ends the link
    answer = await confirming

    assert (answer.status_code, answer.json()) == (200, {"domain": desk.domain})
    assert (await read_organisation(rival))["domain"] == desk.domain
    assert (await read_organisation(desk))["domain"] == f"{desk.id.hex}.displaced.invalid"


async def test_a_proof_records_one_change_of_credentials_for_each_organisation(
    desk: Desk, rival: Desk, dns_server: DnsServer
) -> None:
    await prove(dns_server, rival, desk.domain)

    ids = (desk.id, rival.id)
    async with desk.database.session(None) as db:
        changes = (await db.scalars(select(CredentialChange.org_id).where(CredentialChange.org_id.in_(ids)))).all()
    assert sorted(changes) == sorted(ids)


async def test_a_takeover_in_one_process_takes_effect_in_others(
    database: Database, dns_server: DnsServer, start: Start
) -> None:
    one, other = [(await start(dns_server=dns_server.address)).api for _ in range(2)]
    desk, rival = [await create_desk(one, database, sandbox=False) for _ in range(2)]
    there, rival_there = replace(desk.admin, http=other.http), replace(rival.admin, http=other.http)
    for admin in (desk.admin, there):  # both processes cache the credentials
        assert_problem(await admin.post(PATH, {"method": "DNS"}), 409, "domain_not_proved")
    for admin in (rival.admin, rival_there):
        assert (await admin.get("/tickets")).status_code == 200

    assert (await prove(dns_server, rival, desk.domain)).status_code == 200

    async def is_displaced(admin: SignedInUser) -> bool:
        return (await admin.post(PATH, {"method": "DNS"})).status_code == 422

    async def has_domain(admin: SignedInUser) -> bool:
        reference: str = (await admin.get(f"/tickets/{ticket['id']}")).json()["reference"]
        return reference == f"{desk.domain[:10].upper()}-1"

    ticket = await rival.open()
    assert await is_displaced(desk.admin)
    assert await has_domain(rival.admin)
    assert await eventually(partial(is_displaced, there), within=3, every=0.1)
    assert await eventually(partial(has_domain, rival_there), within=3, every=0.1)


async def test_a_proved_domain_is_not_taken_over(
    desk: Desk, rival: Desk, dns_server: DnsServer, settings: Settings
) -> None:
    token = await request_link(rival, settings, desk.domain)
    assert (await prove(dns_server, desk, desk.domain)).status_code == 200

    for method in ("DNS", "EMAIL"):
        answer = await rival.admin.post(PATH, {"method": method, "domain": desk.domain})
        assert_problem(answer, 409, "domain_taken")
    assert_problem(await confirm(rival, token), 409, "domain_taken")

    assert (await read_organisation(desk))["domain"] == desk.domain


async def test_references_follow_the_domain_only_while_there_are_no_tickets(
    api: Api, database: Database, dns_server: DnsServer
) -> None:
    fresh, used = await create_desk(api, database), await create_desk(api, database)
    ticket = await used.open()
    for desk, label in ((fresh, "growfin"), (used, "acme")):
        assert (await prove(dns_server, desk, f"{label}.{uuid4().hex}.test")).status_code == 200

    assert (await fresh.open())["reference"] == "GROWFIN-1"
    assert (await used.read(ticket))["reference"] == ticket["reference"]
    assert (await used.admin.get("/tickets", params={"q": ticket["reference"]})).status_code == 200


async def test_of_concurrent_proofs_one_gets_the_domain(
    api: Api, database: Database, desk: Desk, dns_server: DnsServer
) -> None:
    rivals = [await create_desk(api, database) for _ in range(4)]
    values = []
    for rival in rivals:
        record = (await rival.admin.get("/org/domain", params={"domain": desk.domain})).json()["record"]
        values.append(f'"{record["value"]}"')
    dns_server.records[f"_tessera-challenge.{desk.domain}"] = values

    answers = await asyncio.gather(
        *(rival.admin.post(PATH, {"method": "DNS", "domain": desk.domain}) for rival in rivals)
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    domains = [(await read_organisation(one))["domain"] for one in (*rivals, desk)]
    assert domains.count(desk.domain) == 1
    assert domains[-1] == f"{desk.id.hex}.displaced.invalid"

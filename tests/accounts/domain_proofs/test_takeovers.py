"""Take over domains that other organisations have not proved."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from uuid import uuid4

from sqlalchemy import select

from app.access.models import CredentialChange
from app.core.config import Settings
from app.core.database.pool import Database
from app.organisations.queries import lock_organisation
from tests.accounts.domain_proofs.proving import (
    PATH,
    confirm,
    list_events,
    prove,
    read_organisation,
    request_link,
    unique_domain,
    wait_for_waiting,
)
from tests.databases import eventually
from tests.dns_server import DnsServer
from tests.notifications.users import relay_events
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start


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

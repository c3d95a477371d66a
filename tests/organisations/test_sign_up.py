"""Sign up organisations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager
from sqlalchemy import func, select

from app.core.database.pool import Database
from app.core.outbox.models import Counter, EventRow, Relay
from app.core.security.secret_keys import hash_secret_key, is_secret_key
from app.main import create_app
from app.organisations.models import Organisation, SecretKey
from tests.conftest import SECRET_KEY, settings_for
from tests.organisation_client import Api
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Service, Start


@pytest.fixture(scope="module")
async def api(server: TestServer) -> AsyncIterator[Api]:
    """A service for concurrent requests: each has its own state, as on a server."""
    app = create_app(settings_for(server))
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test") as client,
    ):
        yield Api(client, SECRET_KEY)


def unique_domain() -> str:
    return f"d{uuid4().hex}.test"


async def sign_up(api: Api, domain: str, **fields: object) -> httpx.Response:
    return await api.http.post("/auth/org/signup", json={"name": "Growfin", "domain": domain, **fields})


async def count_organisations(database: Database, domain: str) -> int:
    async with database.session(None) as db:
        return await db.scalar(select(func.count()).where(Organisation.domain == domain)) or 0


async def test_a_new_organisation_gets_a_secret_key_and_a_location(api: Api) -> None:
    domain = unique_domain()
    answer = await sign_up(api, domain)

    assert answer.status_code == 201
    assert answer.headers["location"] == "/org"
    assert answer.headers["cache-control"] == "no-store"
    created = answer.json()
    assert created.keys() == {"id", "name", "domain", "sandbox", "secret", "createdAt"}
    assert (created["name"], created["domain"], created["sandbox"]) == ("Growfin", domain, False)
    assert UUID(created["id"]).version == 7
    assert created["createdAt"].endswith("Z")
    assert is_secret_key(created["secret"])
    own = await api.http.get(answer.headers["location"], headers={"X-Org-Secret": created["secret"]})
    assert own.json()["id"] == created["id"]
    assert "secret" not in own.json()


async def test_only_the_hash_of_the_secret_key_is_stored(api: Api, database: Database) -> None:
    created = (await sign_up(api, unique_domain())).json()
    secret, org_id = created["secret"], UUID(created["id"])
    async with database.session(org_id) as db:
        stored = (await db.scalars(select(SecretKey).where(SecretKey.org_id == org_id))).all()
        rows: list[Any] = [*stored, await db.get(Organisation, org_id)]
        rows += (await db.scalars(select(EventRow).where(EventRow.org_id == org_id))).all()
    assert [row.hash for row in stored] == [hash_secret_key(secret)]
    kept = repr([{column.key: getattr(row, column.key) for column in row.__table__.columns} for row in rows])
    assert secret not in kept
    assert secret[4:] not in kept


async def test_a_new_organisation_has_its_counter_relay_and_first_event(api: Api, database: Database) -> None:
    org_id = UUID((await sign_up(api, unique_domain(), sandbox=True)).json()["id"])
    async with database.session(org_id) as db:
        assert await db.get(Counter, org_id) is not None
        assert await db.get(Relay, org_id) is not None
        events = (await db.scalars(select(EventRow).where(EventRow.org_id == org_id).order_by(EventRow.seq))).all()
    assert [(event.seq, event.type, event.actor_type) for event in events] == [(1, "organisation.signed_up", "SYSTEM")]


async def test_a_domain_is_stored_in_lower_case_and_idna_form(api: Api) -> None:
    label = uuid4().hex
    assert (await sign_up(api, f" Bücher.{label.upper()}.Test. ")).json()["domain"] == f"xn--bcher-kva.{label}.test"


async def test_a_domain_is_taken_in_any_case_and_script(api: Api, database: Database) -> None:
    label = uuid4().hex
    first = (await sign_up(api, f"bücher{label}.test")).json()
    for domain in (first["domain"], first["domain"].upper(), f"BÜCHER{label}.Test", f"bu\u0308cher{label}.test."):
        assert_problem(await sign_up(api, domain), 409, "domain_taken")
    assert await count_organisations(database, first["domain"]) == 1


async def test_one_of_several_concurrent_sign_ups_gets_the_domain(api: Api, database: Database) -> None:
    domain = unique_domain()
    answers = await asyncio.gather(*(sign_up(api, variant) for variant in [domain, domain.upper()] * 4))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    for answer in answers:
        if answer.status_code == 409:
            assert_problem(answer, 409, "domain_taken")
    assert await count_organisations(database, domain) == 1
    winner = next(answer.json() for answer in answers if answer.status_code == 201)
    assert (await api.http.get("/org", headers={"X-Org-Secret": winner["secret"]})).json()["id"] == winner["id"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": None}, "name"),
        ({"name": 5}, "name"),
        ({"domain": "not a domain"}, "domain"),
        ({"domain": "https://growfin.com"}, "domain"),
        ({"domain": "10.0.0.1"}, "domain"),
        ({"domain": f"{'a' * 64}.com"}, "domain"),
        ({"domain": None}, "domain"),
        ({"sandbox": "yes"}, "sandbox"),
        ({"sandbox": 1}, "sandbox"),
        ({"sandbox": None}, "sandbox"),
        ({"id": str(uuid4())}, "id"),
        ({"status": "ACTIVE"}, "status"),
        ({"autoCloseDays": 3}, "autoCloseDays"),
        ({"clockOffset": 5}, "clockOffset"),
    ],
)
async def test_an_invalid_field_is_reported_and_no_organisation_is_created(
    api: Api, database: Database, fields: dict[str, object], wrong: str
) -> None:
    body = {"domain": unique_domain()} | fields
    assert read_invalid_fields(await api.http.post("/auth/org/signup", json={"name": "Growfin", **body})) == {wrong}
    assert await count_organisations(database, str(body["domain"])) == 0


async def test_all_missing_fields_are_reported_at_once(api: Api) -> None:
    assert read_invalid_fields(await api.http.post("/auth/org/signup", json={})) == {"name", "domain"}


async def test_a_refused_sign_up_leaves_the_domain_free(api: Api) -> None:
    domain = unique_domain()
    assert (await sign_up(api, domain, name="")).status_code == 422
    assert (await sign_up(api, domain)).status_code == 201


@pytest.mark.parametrize(
    "domain",
    [
        "com",
        "co.uk",
        "localhost",
        "CO.UK.",
        "internal",
        "github.io",
        "рф",
        "1.displaced.invalid",
        "xn--a.com",
        "xn--zzzzz99999.com",
    ],
)
async def test_a_domain_that_nobody_can_own_is_refused(api: Api, domain: str) -> None:
    assert read_invalid_fields(await sign_up(api, domain)) == {"domain"}


@pytest.mark.parametrize(
    "name",
    [
        "Win at https://evil.example", "hxxp://evil", "www.evil", "Growfin evil.com", "evil.com/free", "ada@evil.com",
        "Growfin (evil.co.uk)", "evil\u3002com", "evil\uff0ecom", "evil.\uff43om", "bücher.de", "пример.рф",
        "http:evil", "HTTPS:evil", "javascript:alert(1)", "mailto:eve", "data:text/html,1", "192.168.0.1",
        "(10.0.0.1/x)", "evil.example", "evil.onion", "evil\u200b.com", "evil.c\u00adom", "evil\ufe0f.com",
        "evil%2Ecom", "http%3A//evil",
    ],
)  # fmt: skip
async def test_a_name_with_a_web_address_is_refused(api: Api, name: str) -> None:
    assert read_invalid_fields(await sign_up(api, unique_domain(), name=name)) == {"name"}


@pytest.mark.parametrize(
    "name",
    [
        "Node.js Users", "A.B.C. GmbH", "S.p.A.", "St. Gallen", "Dr.Oetker", "1.000 Dinge", "v2.0", "One... two",
        "Growfin .NET", "Team: IT", "100% Growfin", "1.2.3.456", "v1.2.3.4", "1.2.3.4.5", "Data:Lab",
        "\u0645\u06cc\u200c\u062e",
    ],
)  # fmt: skip
async def test_a_name_without_a_web_address_is_accepted(api: Api, name: str) -> None:
    answer = await sign_up(api, unique_domain(), name=name)
    assert answer.status_code == 201, answer.text


# --- sign-up that the operator restricts -----------------------------------------------------------------------------

TOKEN = "a-token-of-the-operator"


async def sign_up_with_token(service: Service, token: str | None) -> httpx.Response:
    headers = {} if token is None else {"X-Sign-Up-Token": token}
    body = {"name": "Growfin", "domain": unique_domain()}
    async with service.at("192.0.2.1") as client:
        return await client.post("/auth/org/signup", json=body, headers=headers)


async def test_a_closed_installation_signs_no_organisation_up(start: Start) -> None:
    service = await start(org_sign_up="closed", org_sign_up_token=TOKEN)
    for token in (None, TOKEN):
        assert_problem(await sign_up_with_token(service, token), 403, "sign_up_closed")


async def test_only_the_operators_token_signs_organisations_up(start: Start) -> None:
    service = await start(org_sign_up="token", org_sign_up_token=TOKEN)
    for token in (None, "", TOKEN[:-1], TOKEN.upper(), f"{TOKEN}x"):
        assert_problem(await sign_up_with_token(service, token), 403, "sign_up_token_required")
    assert (await sign_up_with_token(service, TOKEN)).status_code == 201


async def test_guesses_at_the_token_are_limited(start: Start) -> None:
    service = await start(org_sign_up="token", org_sign_up_token=TOKEN, sign_up_limit="2/minute")
    answers = [await sign_up_with_token(service, "a-wrong-token") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403, 403, 429]

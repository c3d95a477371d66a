"""Call as a product, with the organisation's secret key."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager

from app.access.credential_cache import CredentialCache
from app.access.errors import InvalidSecretKey
from app.authentication.sessions.queries import find_principal
from app.core.config import Settings
from app.core.database.outages import DatabaseUnreachable
from app.core.database.pool import Database
from app.core.security.secret_keys import generate_secret_key
from app.main import create_app
from app.organisations.queries import find_by_secret_hash
from tests.conftest import SECRET_KEY
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import assert_problem

UNREACHABLE = "postgresql+asyncpg://tessera@/tessera?host=/nonexistent"


def make_key_with_wrong_checksum() -> str:
    secret = generate_secret_key()
    return secret[:-1] + ("0" if secret[-1] != "0" else "1")


async def post(api: Api, *, header: str | None = None, **body: object) -> httpx.Response:
    ticket = {"title": "It broke", "description": "All of it.", "addedBy": "mia@customer.example"}
    return await api.http.post("/tickets", json=ticket | body, headers={"X-Org-Secret": header} if header else {})


async def test_the_secret_key_comes_in_the_header_the_body_or_both(api: Api, desk: Desk) -> None:
    for credentials in (
        {"header": desk.secret},
        {"secret": desk.secret},
        {"header": desk.secret, "secret": desk.secret},
    ):
        answer = await post(api, **credentials)
        assert answer.status_code == 201, answer.text
        assert answer.json()["orgId"] == str(desk.id)
        assert desk.secret not in answer.text


async def test_different_secret_keys_in_header_and_body_are_refused_even_if_both_are_valid(
    api: Api, database: Database, desk: Desk
) -> None:
    other = await create_desk(api, database)
    assert_problem(await post(api, header=desk.secret, secret=other.secret), 401, "secret_key_mismatch")
    assert_problem(await post(api, header=desk.secret, secret=generate_secret_key()), 401, "secret_key_mismatch")
    assert_problem(await post(api, header=desk.secret, secret=""), 401, "secret_key_mismatch")
    assert (await desk.open())["number"] == 1, "nothing was posted"


@pytest.mark.parametrize("secret", [None, 5, ["tsk_"], {}, True])
async def test_a_secret_in_the_body_that_is_not_a_string_is_no_credential(api: Api, secret: object) -> None:
    assert_problem(await post(api, secret=secret), 401, "missing_credential")


async def test_a_ticket_without_a_credential_is_refused(api: Api) -> None:
    assert_problem(await post(api), 401, "missing_credential")


@pytest.mark.parametrize(
    "change",
    [
        lambda _: generate_secret_key(),
        lambda _: make_key_with_wrong_checksum(),
        lambda secret: secret[:-1],
        lambda secret: secret + "0",
        lambda secret: secret.swapcase(),
        lambda secret: secret.removeprefix("tsk_"),
        lambda _: "tsk_",
        lambda _: "x" * 200,
        lambda _: str(uuid4()),
        lambda _: "' OR 1=1 --",
    ],
)
async def test_every_invalid_secret_key_gets_the_same_message(
    api: Api, desk: Desk, change: Callable[[str], str]
) -> None:
    in_header = await post(api, header=change(desk.secret))
    in_body = await post(api, secret=change(desk.secret))
    details = {assert_problem(answer, 401, "invalid_secret_key")["detail"] for answer in (in_header, in_body)}
    assert details == {"The organisation secret key is not valid, or it was revoked. Check that it is complete."}


async def test_a_header_with_bytes_beyond_ascii_is_an_invalid_secret_key(api: Api) -> None:
    answer = await api.http.get("/org", headers=[(b"X-Org-Secret", "tsk_é\u00ff".encode("latin-1"))])
    assert_problem(answer, 401, "invalid_secret_key")


async def test_a_secret_key_with_a_wrong_checksum_is_refused_without_a_query() -> None:
    database = Database(UNREACHABLE)
    cache = CredentialCache(database, SECRET_KEY, find_tenant=find_by_secret_hash, find_user=find_principal)
    with pytest.raises(InvalidSecretKey):
        await cache.resolve_secret_key(make_key_with_wrong_checksum())
    with pytest.raises(DatabaseUnreachable):
        await cache.resolve_secret_key(generate_secret_key())
    await database.dispose()


async def test_without_a_database_a_wrong_checksum_is_a_401_and_any_other_secret_key_a_503() -> None:
    app = create_app(Settings(database_url=UNREACHABLE, secret_key=SECRET_KEY, worker="off"))
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test") as http,
    ):
        api = Api(http, SECRET_KEY)
        assert_problem(await post(api, header=make_key_with_wrong_checksum()), 401, "invalid_secret_key")
        assert_problem(await post(api, header=generate_secret_key()), 503, "unavailable")


async def test_the_access_token_is_used_if_both_credentials_are_sent(api: Api, desk: Desk) -> None:
    both = desk.admin.headers | {"X-Org-Secret": desk.secret}
    assert (await api.http.get("/org", headers=both)).status_code == 200
    broken = {"Authorization": "Bearer hunter2", "X-Org-Secret": desk.secret}
    assert_problem(await api.http.get("/org", headers=broken), 401, "invalid_token")


@pytest.mark.parametrize(("method", "path"), [("GET", "/me"), ("PATCH", "/me"), ("PATCH", "/org"), ("GET", "/jobs")])
async def test_operations_for_users_refuse_secret_keys(api: Api, desk: Desk, method: str, path: str) -> None:
    content = b"{}" if method == "PATCH" else None
    valid, invalid = (desk.secret, 403, "access_token_required"), (generate_secret_key(), 401, "invalid_secret_key")
    for secret, status, code in (valid, invalid):
        answer = await api.http.request(method, path, headers={"X-Org-Secret": secret}, content=content)
        assert_problem(answer, status, code)
    as_token = {"Authorization": f"Bearer {desk.secret}"}
    assert_problem(await api.http.request(method, path, headers=as_token, content=content), 401, "invalid_token")


async def test_operations_for_products_refuse_access_tokens(api: Api, desk: Desk) -> None:
    body = {"firstName": "Bo", "lastName": "Li", "email": "bo@growfin.test", "password": "walnut-otter-83-kite"}
    document = assert_problem(await desk.admin.post("/auth/admin/signup", body), 403, "secret_key_required")
    assert document["detail"] == "Access tokens are not accepted here: use an organisation secret key."
    assert (await api.http.post("/auth/admin/signup", json=body | {"secret": desk.secret})).status_code == 201

"""A product shows its organisation's secret."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager

from app.access.callers import InvalidSecret
from app.access.credential_cache import CredentialCache
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.security.secret_keys import new_secret
from app.main import create_app
from tests.conftest import SECRET_KEY
from tests.organisation_client import Api, Desk, create_desk
from tests.problems import refused

NOWHERE = "postgresql+asyncpg://nobody@/nothing?host=/nonexistent"


def a_bad_one() -> str:
    secret = new_secret()
    return secret[:-1] + ("0" if secret[-1] != "0" else "1")


async def post(api: Api, *, header: str | None = None, **body: object) -> httpx.Response:
    ticket = {"title": "It broke", "description": "All of it.", "addedBy": "mia@customer.example"}
    return await api.http.post("/tickets", json=ticket | body, headers={"X-Org-Secret": header} if header else {})


async def test_it_comes_in_the_header_or_in_the_body_or_in_both(api: Api, desk: Desk) -> None:
    for credentials in (
        {"header": desk.secret},
        {"secret": desk.secret},
        {"header": desk.secret, "secret": desk.secret},
    ):
        answer = await post(api, **credentials)
        assert answer.status_code == 201, answer.text
        assert answer.json()["orgId"] == str(desk.id)
        assert desk.secret not in answer.text


async def test_two_that_differ_are_refused_even_if_both_are_good(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    refused(await post(api, header=desk.secret, secret=other.secret), 401, "secret_mismatch")
    refused(await post(api, header=desk.secret, secret=new_secret()), 401, "secret_mismatch")
    refused(await post(api, header=desk.secret, secret=""), 401, "secret_mismatch")
    assert (await desk.open())["number"] == 1, "nothing was posted"


@pytest.mark.parametrize("secret", [None, 5, ["tsk_"], {}, True])
async def test_no_text_in_the_body_is_no_secret(api: Api, secret: object) -> None:
    refused(await post(api, secret=secret), 401, "missing_credential")


async def test_without_one_nothing_is_posted(api: Api) -> None:
    refused(await post(api), 401, "missing_credential")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda _: new_secret(),
        lambda _: a_bad_one(),
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
async def test_any_other_is_refused_in_the_same_words(api: Api, desk: Desk, wrong: Any) -> None:
    in_header, in_body = await post(api, header=wrong(desk.secret)), await post(api, secret=wrong(desk.secret))
    said = {refused(answer, 401, "invalid_secret")["detail"] for answer in (in_header, in_body)}
    assert said == {"The organisation secret is not valid."}


async def test_bytes_in_the_header_that_are_no_ascii_are_refused(api: Api) -> None:
    answer = await api.http.get("/org", headers=[(b"X-Org-Secret", "tsk_é\u00ff".encode("latin-1"))])
    refused(answer, 401, "invalid_secret")


async def test_one_with_a_bad_checksum_is_refused_without_a_query() -> None:
    database = Database(NOWHERE)
    credential_cache = CredentialCache(database, SECRET_KEY)
    with pytest.raises(InvalidSecret):
        await credential_cache.by_secret(a_bad_one())
    with pytest.raises(FileNotFoundError):
        await credential_cache.by_secret(new_secret())
    await database.dispose()


async def test_so_it_is_refused_while_the_database_is_away_and_a_good_one_is_asked_to_come_again() -> None:
    app = create_app(Settings(database_url=NOWHERE, secret_key=SECRET_KEY, worker="off"))
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test") as http,
    ):
        api = Api(http, SECRET_KEY)
        refused(await post(api, header=a_bad_one()), 401, "invalid_secret")
        refused(await post(api, header=new_secret()), 503, "unavailable")


async def test_where_both_come_the_token_counts(api: Api, desk: Desk) -> None:
    both = desk.admin.headers | {"X-Org-Secret": desk.secret}
    assert (await api.http.get("/org", headers=both)).status_code == 200
    broken = {"Authorization": "Bearer hunter2", "X-Org-Secret": desk.secret}
    refused(await api.http.get("/org", headers=broken), 401, "invalid_token")


@pytest.mark.parametrize(("method", "path"), [("GET", "/me"), ("PATCH", "/me"), ("PATCH", "/org"), ("GET", "/jobs")])
async def test_it_does_not_do_where_a_user_is_needed(api: Api, desk: Desk, method: str, path: str) -> None:
    content = b"{}" if method == "PATCH" else None
    for secret, status, code in ((desk.secret, 403, "user_required"), (new_secret(), 401, "invalid_secret")):
        answer = await api.http.request(method, path, headers={"X-Org-Secret": secret}, content=content)
        refused(answer, status, code)
    as_token = {"Authorization": f"Bearer {desk.secret}"}
    refused(await api.http.request(method, path, headers=as_token, content=content), 401, "invalid_token")

"""The pages of the links in mails, in a real browser, with the links from the mails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from playwright.async_api import expect
from sqlalchemy import select

from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.single_use_links.pages import PAGE, PATHS
from app.accounts.users.models import User
from app.core.security.opaque_tokens import LINK_PREFIX
from app.core.security.password_strength import MIN_PASSWORD_LENGTH
from tests.conftest import settings_for
from tests.docs.visits import Visit
from tests.http_server import running_server
from tests.notifications.users import add_user, get_parts, read_files_to, request_link, unique_address
from tests.organisation_client import Desk
from tests.postgres import TestServer

if TYPE_CHECKING:
    from playwright.async_api import Browser

NEW_PASSWORD = "amber-otter-58-desk"
NOT_VALID = "This link is not valid"

# Runs the worker and returns the link in the newest mail to an address. The test requests the mail before.
LinkTo = Callable[[str], Awaitable[str]]


@pytest.fixture(scope="module")
async def address(server: TestServer) -> AsyncIterator[str]:
    """The address of the service, on the database of the other tests."""
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, running_server(settings_for(server)))
        await asyncio.to_thread(stack.close)


class Reader(Visit):
    """A user who follows a link in a mail."""

    def __init__(self, page: Any, address: str) -> None:
        super().__init__(page, address)
        self.requests: list[str] = []

    async def start(self) -> None:
        await super().start()
        self.page.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))
        self.page.on("console", self._note_violation)

    def _note_violation(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)

    async def follow(self, link: str) -> None:
        """Open a link, and check that its token disappears at once."""
        await self.page.goto(link)
        await self.sees_no_token(urlsplit(link).path)

    async def sees_no_token(self, path: str) -> None:
        await expect(self.page).to_have_url(f"{self.address}{path}")
        assert LINK_PREFIX not in await self.page.content()
        assert LINK_PREFIX not in await self.page.evaluate("JSON.stringify(history.state) + location.href")
        assert not [request for request in self.requests if LINK_PREFIX in request]

    async def choose(self, password: str) -> None:
        await self.page.get_by_label("New password").fill(password)
        await self.page.get_by_role("button").click()

    async def is_told(self, text: str) -> None:
        await expect(self.page.get_by_role("status")).to_contain_text(text)

    async def is_refused(self, text: str) -> None:
        await expect(self.page.get_by_role("alert")).to_contain_text(text)

    def list_posted_paths(self) -> list[str]:
        return [request.removeprefix(f"POST {self.address}") for request in self.requests if request.startswith("POST")]


@pytest.fixture
async def reader(browser: Browser, address: str) -> AsyncIterator[Reader]:
    page = await browser.new_page()
    reader = Reader(page, address)
    await reader.start()
    yield reader
    await page.close()
    assert reader.foreign_requests == []
    assert reader.errors == []


@pytest.fixture
def link_to(desk: Desk, server: TestServer, address: str, tmp_path: Path) -> LinkTo:
    settings = settings_for(server, data_dir=tmp_path, public_url=address)

    async def find(recipient: str) -> str:
        await desk.work(settings)
        mails = sorted(read_files_to(settings, recipient), key=lambda mail: mail["Message-ID"])
        plain, html = get_parts(mails[-1])
        (link,) = re.findall(rf"^{re.escape(address)}\S+#token=\S+$", plain, re.MULTILINE)
        assert f'href="{link}"' in html
        return str(link)

    return find


async def sign_in(desk: Desk, email: str, password: str) -> int:
    body = {"email": email, "password": password, "org": desk.domain}
    return (await desk.api.http.post("/auth/signin", json=body)).status_code


async def test_a_forgotten_password_is_reset_once_with_the_mailed_link(
    desk: Desk, reader: Reader, link_to: LinkTo
) -> None:
    user = await desk.another_admin(unique_address())
    asked = await desk.api.http.post("/auth/password/forgot", json={"email": user.email, "org": desk.domain})
    assert asked.status_code == 202
    link = await link_to(user.email)
    assert urlsplit(link).path == "/reset-password"

    await reader.follow(link)
    await reader.choose("short")
    assert reader.list_posted_paths() == []  # the browser refuses a password that is too short
    await reader.choose("password123")
    await reader.is_refused("This password is easily guessed.")
    await reader.choose(NEW_PASSWORD)
    await reader.is_told("Your password is changed. Sign in with it from now on.")
    await expect(reader.page.get_by_role("alert")).to_be_hidden()
    await reader.sees_no_token("/reset-password")

    assert await sign_in(desk, user.email, NEW_PASSWORD) == 200
    await reader.follow(link)
    await reader.choose("another-otter-59-desk")
    await reader.is_refused(NOT_VALID)
    await expect(reader.page.get_by_label("New password")).to_have_count(0)
    assert await sign_in(desk, user.email, NEW_PASSWORD) == 200
    assert reader.list_posted_paths() == ["/auth/password/reset"] * 3


async def test_an_invitation_is_accepted_once_with_the_mailed_link(desk: Desk, reader: Reader, link_to: LinkTo) -> None:
    email = unique_address()
    invited = await desk.admin.post(
        "/users", {"firstName": "Grace", "lastName": "Hopper", "email": email, "role": "ENGINEER"}
    )
    assert invited.status_code == 201, invited.text
    link = await link_to(email)
    assert urlsplit(link).path == "/accept-invitation"

    await reader.follow(link)
    await reader.choose(NEW_PASSWORD)
    await reader.is_told("Your account is ready.")
    await reader.sees_no_token("/accept-invitation")

    assert await sign_in(desk, email, NEW_PASSWORD) == 200
    await reader.follow(link)
    await reader.choose("another-otter-59-desk")
    await reader.is_refused(NOT_VALID)
    assert await sign_in(desk, email, NEW_PASSWORD) == 200
    assert reader.list_posted_paths() == ["/auth/invitation/accept"] * 2


async def test_an_address_is_confirmed_by_the_button_and_not_by_opening_the_page(
    desk: Desk, reader: Reader, link_to: LinkTo
) -> None:
    user = await add_user(desk)
    await request_link(desk, user, LinkPurpose.VERIFY_EMAIL)
    link = await link_to(user.email)

    await reader.follow(link)
    await expect(reader.page.get_by_label("New password")).to_be_hidden()
    await reader.page.wait_for_load_state("networkidle")
    assert reader.list_posted_paths() == ["/auth/email/lookup"]
    assert not await is_verified(desk, user.id)
    for shown in ("Mia Holm", user.email, f"Growfin ({desk.domain})"):
        await expect(reader.page.get_by_role("definition").filter(has_text=shown)).to_be_visible()
    await reader.page.get_by_role("button", name="This is my account: confirm").click()
    await reader.is_told("Your e-mail address is confirmed.")

    assert await is_verified(desk, user.id)
    await reader.follow(link)
    await reader.is_refused(NOT_VALID)
    await expect(reader.page.get_by_role("button")).to_have_count(0)


async def test_the_owner_of_an_address_refuses_an_account_of_another_person(
    desk: Desk, reader: Reader, link_to: LinkTo
) -> None:
    user = await add_user(desk, first_name="<img src=x onerror=alert(1)>")
    await request_link(desk, user, LinkPurpose.VERIFY_EMAIL)

    await reader.follow(await link_to(user.email))
    await expect(reader.page.get_by_role("definition").filter(has_text="<img src=x")).to_be_visible()
    await reader.page.get_by_role("button", name="I did not sign up").click()
    await reader.is_told("The account cannot use your e-mail address.")

    assert reader.list_posted_paths() == ["/auth/email/lookup", "/auth/email/disown"]
    async with desk.database.session(desk.id) as db:
        conditions = (User.org_id == desk.id, User.id == user.id)
        assert await db.scalar(select(User.status).where(*conditions)) == "ERASED"


async def is_verified(desk: Desk, user_id: UUID) -> bool:
    async with desk.database.session(desk.id) as db:
        conditions = (User.org_id == desk.id, User.id == user_id)
        return await db.scalar(select(User.email_verified_at).where(*conditions)) is not None


async def test_a_new_address_is_confirmed(desk: Desk, reader: Reader, link_to: LinkTo) -> None:
    user, new = await add_user(desk), unique_address()
    await request_link(desk, user, LinkPurpose.CHANGE_EMAIL, new)

    await reader.follow(await link_to(new))
    await reader.page.get_by_role("button", name="Confirm").click()
    await reader.is_told("Your new e-mail address is confirmed.")

    async with desk.database.session(desk.id) as db:
        conditions = (User.org_id == desk.id, User.id == user.id)
        assert await db.scalar(select(User.email).where(*conditions)) == new


async def test_the_owner_of_a_domain_confirms_it_on_a_page_of_this_service(
    desk: Desk, reader: Reader, link_to: LinkTo
) -> None:
    await desk.admin.patch("/org", {"appUrl": "https://evil.example"})
    await desk.admin.post("/org/domain/verify", {"method": "EMAIL"})

    await reader.follow(await link_to(f"postmaster@{desk.domain}"))
    await reader.page.get_by_role("button", name="Confirm").click()
    await reader.is_told("The domain is confirmed.")

    assert (await desk.admin.get("/org")).json()["domainVerifiedAt"] is not None


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_without_a_token_says_so_and_has_no_form(reader: Reader, path: str) -> None:
    await reader.page.goto(f"{reader.address}{path}?utm_source=mail")

    await reader.is_refused("This link is incomplete.")
    await expect(reader.page.get_by_role("button")).to_be_hidden()
    await expect(reader.page).to_have_url(f"{reader.address}{path}")


async def test_a_forged_token_is_refused_and_not_shown(reader: Reader) -> None:
    await reader.page.goto(f"{reader.address}/verify-email#token=<img src=x onerror=alert(1)>")

    await reader.is_refused(NOT_VALID)
    assert await reader.page.locator("img").count() == 0


async def test_another_link_can_be_opened_on_the_same_page(reader: Reader) -> None:
    await reader.page.goto(f"{reader.address}/verify-email")
    await reader.is_refused("This link is incomplete.")
    await reader.page.evaluate("location.hash = 'token=another'")

    await reader.is_refused(NOT_VALID)
    await expect(reader.page).to_have_url(f"{reader.address}/verify-email")


async def test_the_password_can_be_shown_before_it_is_saved(reader: Reader) -> None:
    await reader.page.goto(f"{reader.address}/reset-password#token=any")
    field = reader.page.get_by_label("New password")
    await expect(field).to_have_attribute("type", "password")
    await expect(field).to_have_attribute("autocomplete", "new-password")
    await reader.page.get_by_label("Show the password").check()
    await expect(field).to_have_attribute("type", "text")


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_loads_nothing_and_cannot_be_stored_or_framed(desk: Desk, path: str) -> None:
    answer = await desk.api.http.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    (policy,) = answer.headers.get_list("content-security-policy")
    allowed = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert allowed["frame-ancestors"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", allowed["script-src"])
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=\"(?!data:,)|url\(|@import", answer.text)


async def test_a_page_supports_only_get_and_head(desk: Desk) -> None:
    head = await desk.api.http.head("/reset-password")
    post = await desk.api.http.post("/reset-password")

    assert (head.status_code, head.content) == (200, b"")
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


async def test_the_pages_are_not_in_the_openapi_document(desk: Desk) -> None:
    document: dict[str, Any] = (await desk.api.http.get("/openapi.json")).json()

    assert document["paths"].keys().isdisjoint(PATHS)


def test_the_page_requires_the_same_password_length_as_the_service() -> None:
    assert f'minlength="{MIN_PASSWORD_LENGTH}"' in PAGE
    assert f"At least {MIN_PASSWORD_LENGTH} characters." in PAGE

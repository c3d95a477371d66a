"""Read and change the state of an account: its row, credential, links and events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select, update

from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users.models import Credential
from app.accounts.users.models import User as UserRow
from app.authentication.sessions.models import Session
from app.core.clock import real_now
from app.core.outbox.models import EventRow
from app.core.security.opaque_tokens import make_link_token
from tests.conftest import SECRET_KEY
from tests.organisation_client import PASSWORD, Desk

NEW_PASSWORD = "amber-otter-58-desk"


async def list_links(desk: Desk, user_id: UUID, purpose: LinkPurpose | None = None) -> Sequence[Link]:
    """List a user's links, oldest first."""
    async with desk.database.session(desk.id) as db:
        found = await db.scalars(select(Link).where(Link.org_id == desk.id, Link.user_id == user_id).order_by(Link.id))
        return [link for link in found if purpose in {None, link.purpose}]


def token_of(link: Link) -> str:
    """Return the token of a link."""
    return make_link_token(SECRET_KEY, link.org_id, link.id)


async def latest_token(desk: Desk, user_id: UUID, purpose: LinkPurpose) -> str:
    """Return the token of a user's latest link for a purpose."""
    return token_of((await list_links(desk, user_id, purpose))[-1])


async def issue_link(desk: Desk, user_id: UUID, email: str, purpose: LinkPurpose, *, valid: bool = True) -> str:
    """Issue a link without mailing it; return its token."""
    async with desk.database.session(desk.id) as db:
        link = links.issue(db, desk.id, user_id, email, purpose)
        if not valid:
            link.expires_at = real_now() - timedelta(seconds=1)
    return token_of(link)


async def expire_links(desk: Desk, user_id: UUID) -> None:
    async with desk.database.session(desk.id) as db:
        conditions = (Link.org_id == desk.id, Link.user_id == user_id)
        await db.execute(update(Link).where(*conditions).values(expires_at=real_now()))


async def read_user(desk: Desk, user_id: UUID) -> UserRow:
    async with desk.database.session(desk.id) as db:
        return (await db.execute(select(UserRow).where(UserRow.org_id == desk.id, UserRow.id == user_id))).scalar_one()


async def read_credential(desk: Desk, user_id: UUID) -> Credential:
    async with desk.database.session(None) as db:
        conditions = (Credential.org_id == desk.id, Credential.user_id == user_id)
        return (await db.execute(select(Credential).where(*conditions))).scalar_one()


async def update_user(desk: Desk, user_id: UUID, **values: Any) -> None:
    async with desk.database.session(desk.id) as db:
        await db.execute(update(UserRow).where(UserRow.org_id == desk.id, UserRow.id == user_id).values(values))


async def remove_password(desk: Desk, user_id: UUID) -> None:
    """Leave the user only the sign-in at a provider."""
    async with desk.database.session(desk.id) as db:
        conditions = (Credential.org_id == desk.id, Credential.user_id == user_id)
        await db.execute(update(Credential).where(*conditions).values(password_hash=None))


async def list_event_types(desk: Desk, user_id: UUID) -> list[str]:
    """List the types of a user's events since the sign-up, in order."""
    async with desk.database.session(desk.id) as db:
        rows = await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))
        return [row.type for row in rows if row.subject_id == user_id][1:]


async def sign_in(http: httpx.AsyncClient, email: str, password: str = PASSWORD, **more: object) -> httpx.Response:
    return await http.post("/auth/signin", json={"email": email, "password": password, **more})


async def verify_email(http: httpx.AsyncClient, token: str) -> httpx.Response:
    """Look up the account of a link, and confirm it."""
    found = await http.post("/auth/email/lookup", json={"token": token})
    account = found.json()["account"] if found.status_code == 200 else str(uuid4())
    return await http.post("/auth/email/verify", json={"token": token, "account": account})


async def age_session(desk: Desk, session_id: UUID, age: timedelta = timedelta(minutes=6)) -> None:
    """Make a session as old as if its access token had been stolen."""
    async with desk.database.session(desk.id) as db:
        conditions = (Session.org_id == desk.id, Session.id == session_id)
        values = {"created_at": real_now() - age, "reauthenticated_at": None}
        await db.execute(update(Session).where(*conditions).values(values))

"""Read what an organisation has stored: users, links, events, and the tables that contain a text."""

from __future__ import annotations

from sqlalchemy import select

from app.accounts.single_use_links.models import Link
from app.accounts.users.models import User
from app.core.outbox.models import EventRow
from tests.conftest import connect
from tests.organisation_client import JSON, Desk
from tests.postgres import TestServer


async def list_users(desk: Desk, email: str) -> list[User]:
    """List the users with this e-mail."""
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(User).where(User.org_id == desk.id, User.email == email)))


async def list_links(desk: Desk) -> list[Link]:
    """List all links, oldest first."""
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(Link).where(Link.org_id == desk.id).order_by(Link.id)))


async def list_account_events(desk: Desk) -> list[tuple[str, JSON]]:
    """List the events after the organisation's sign-up that are not about its first admin."""
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    others = [row for row in rows if row.subject_id != desk.admin.id][1:]
    return [(row.type, {"userId": str(row.subject_id), **row.data}) for row in others]


async def tables_containing(server: TestServer, text: str) -> set[str]:
    """Return the tables that contain a text anywhere, as text or as bytes."""
    connection = await connect(server.superuser_url)
    try:
        names = [row[0] for row in await connection.fetch("SELECT relname FROM pg_stat_user_tables")]
        return {
            name
            for name in names
            if await connection.fetchval(
                f'SELECT EXISTS (SELECT FROM "{name}" t WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0)',
                text,
                text.encode().hex(),
            )
        }
    finally:
        await connection.close()

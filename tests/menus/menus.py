"""Create, read and list the menu entries of an organisation."""

from __future__ import annotations

from sqlalchemy import select

from app.core.outbox.models import EventRow
from tests.organisation_client import JSON, Desk, SignedInUser


async def create_menu(user: SignedInUser, **fields: object) -> JSON:
    answer = await user.post("/menus", {"name": "Entry", "url": "/somewhere", **fields})
    assert answer.status_code == 201, answer.text
    menu: JSON = answer.json()
    assert answer.headers["location"] == f"/menus/{menu['id']}"
    return menu


async def read_menu(user: SignedInUser, menu: JSON) -> JSON:
    answer = await user.get(f"/menus/{menu['id']}")
    assert answer.status_code == 200, answer.text
    found: JSON = answer.json()
    return found


async def create_chain(user: SignedInUser, length: int) -> list[JSON]:
    """Create entries of which each is the child of the previous one."""
    chain: list[JSON] = []
    for number in range(length):
        chain.append(await create_menu(user, name=f"Level {number}", parentId=chain[-1]["id"] if chain else None))
    return chain


async def list_menus(desk: Desk) -> list[JSON]:
    """List all entries, newest first."""
    items: list[JSON] = (await desk.admin.get("/menus", params={"limit": 100})).json()["items"]
    return items


async def menu_events(desk: Desk) -> list[tuple[str, JSON]]:
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [(row.type, {"menuId": str(row.subject_id), **row.data}) for row in rows if row.type.startswith("menu.")]

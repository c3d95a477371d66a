"""Reads of requesters for tests."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.requesters.models import Requester, RequesterWord
from tests.organisation_client import JSON, Desk, SignedInUser


async def read_requesters(desk: Desk) -> Sequence[Requester]:
    """Read the requesters of the organisation, oldest first."""
    async with desk.database.session(desk.id) as db:
        statement = select(Requester).where(Requester.org_id == desk.id).order_by(Requester.created_at, Requester.id)
        return (await db.scalars(statement)).all()


async def read_words(desk: Desk) -> set[str]:
    """Read the search words of all requesters of the organisation."""
    async with desk.database.session(desk.id) as db:
        return set(await db.scalars(select(RequesterWord.word).where(RequesterWord.org_id == desk.id)))


async def list_ticket_numbers(user: SignedInUser, **params: object) -> list[int]:
    """List the numbers of the tickets that a user sees."""
    answer = await user.get("/tickets", params=params)
    assert answer.status_code == 200, answer.text
    return [ticket["number"] for ticket in answer.json()["items"]]


def requester_of(ticket: JSON) -> tuple[str, str | None, str | None]:
    """Return the e-mail address, the name and the account of a ticket's requester."""
    requester = ticket["requester"]
    return requester["email"], requester["name"], requester["userId"]

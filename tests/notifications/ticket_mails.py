"""Read the mails about a ticket."""

from __future__ import annotations

from tests.organisation_client import JSON, Desk


async def read_ticket_mails(desk: Desk, ticket: JSON) -> list[JSON]:
    """Read the notification log about a ticket, oldest first, with bodies."""
    listed = (await desk.admin.get("/notifications", params={"ticketId": ticket["id"], "limit": 100})).json()["items"]
    return [(await desk.admin.get(f"/notifications/{mail['id']}")).json() for mail in reversed(listed)]


async def read_ticket_mails_to(desk: Desk, ticket: JSON, address: str) -> list[JSON]:
    return [mail for mail in await read_ticket_mails(desk, ticket) if mail["to"] == address]

"""Tickets over HTTP."""

from __future__ import annotations

from tests.desks import Desk


async def test_a_posted_ticket_is_numbered_assigned_and_answered_with_its_place(desk: Desk) -> None:
    first, second = await desk.open(), await desk.open(priority="HIGH")

    assert (first["number"], second["number"]) == (1, 2)
    assert first["adminId"] == str(desk.admin.id)
    assert first["status"], second["priority"] == ("OPEN", "HIGH")

"""The rules of assignment, as pure functions: new and waiting tickets go to the available users in rotation.

`choose_assignee` chooses for waiting tickets. For new ones, the statement that opens a ticket chooses by the same rule
in SQL: `statements.ASSIGNEE_IN_TURN`. `tests/tickets/test_differential.py` compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from app.access.user_permissions import RoleKind

ASSIGN: Final = "ASSIGN"  # the kind of timer that assigns waiting tickets

# Tickets are assigned to engineers, and to admins only if no engineer is available.
ROLE_KINDS_IN_ORDER: Final = (RoleKind.ENGINEER, RoleKind.ADMIN)

T = TypeVar("T")


def choose_assignee(number: int, available: Sequence[T]) -> T | None:
    """Choose a ticket's assignee by its number: a strict rotation over the available users, in fixed order."""
    return available[number % len(available)] if available else None

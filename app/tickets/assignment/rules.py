"""The rules of assignment, as pure functions: new and waiting tickets go to the available users in rotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from app.access.user_permissions import RoleKind

ASSIGN: Final = "ASSIGN"  # the kind of timer that assigns waiting tickets

# Tickets are assigned to engineers, and to admins only if no engineer is available.
ROLE_KINDS_IN_ORDER: Final = (RoleKind.ENGINEER, RoleKind.ADMIN)

T = TypeVar("T")


def choose_assignee(number: int, available: Sequence[T]) -> T | None:
    """Choose the assignee of the ticket with this number: a strict rotation over the available users, in fixed order.

    `statements.ASSIGNEE_IN_TURN` is the same rule in SQL.
    """
    return available[number % len(available)] if available else None

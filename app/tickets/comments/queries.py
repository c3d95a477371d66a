"""Reads of comments."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, cast
from uuid import UUID

from app.access.callers import Caller, ProductCaller, UserCaller
from app.access.user_permissions import Action, Resource, permission

if TYPE_CHECKING:
    from app.core.database.pool import Driver

COMMENTS = """
    SELECT c.id, c.message, c.created_at, c.author_id, p.email, p.first_name, p.last_name
    FROM comments AS c JOIN users AS p ON p.org_id = $1 AND p.id = c.author_id
    WHERE c.org_id = $1 AND c.ticket_id = $2 ORDER BY c.id
"""


class CommentRow(TypedDict):
    """A comment with its author."""

    id: UUID
    message: str
    created_at: datetime
    author_id: UUID
    email: str
    first_name: str
    last_name: str


def sees_comments(caller: Caller) -> bool:
    """Return whether the caller may read comments."""
    match caller:
        case ProductCaller():
            return True
        case UserCaller(user=user):
            return permission(Resource.COMMENTS, Action.VIEW) in user.permissions


async def read_comments(driver: Driver, org_id: UUID, ticket_id: UUID) -> list[CommentRow]:
    """Read all comments on a ticket with their authors, oldest first."""
    return cast("list[CommentRow]", await driver.fetch(COMMENTS, org_id, ticket_id))

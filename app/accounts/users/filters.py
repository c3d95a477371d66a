"""The filters of the list of users: each is declared once, as a field of `UserFilters` with its operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement

from app.access.user_permissions import RoleKind
from app.accounts.users.models import User, UserWord
from app.accounts.users.rules import UserStatus
from app.core.database.filters import SEARCH_RULES, ColumnIsIn, ConditionOperator, Filters, HasWords
from app.core.fields import OptionalParameter, SearchInput


class ReceivesNewTickets(ConditionOperator):
    """Whether new tickets can be assigned to the user now."""

    # No index has the comparison of these columns together, so the list is read in its own order.
    columns = (User.id,)

    def condition(self, _org_id: UUID, values: Sequence[bool]) -> ColumnElement[bool]:
        """Compare the state of the user."""
        (receives_new_tickets,) = values
        return User.receives_new_tickets == receives_new_tickets


class UserFilters(Filters):
    """Select users. A repeated filter matches any of its values."""

    role: Annotated[
        list[RoleKind],
        ColumnIsIn(User.role_kind),
        Field(max_length=len(RoleKind), description="Kinds of roles; an organisation's own role is of one of them."),
    ] = []
    status: Annotated[
        list[UserStatus],
        ColumnIsIn(User.status),
        Field(
            max_length=len(UserStatus),
            description="Statuses. `PENDING` finds sign-ups that wait for approval, `INVITED` open invitations.",
        ),
    ] = []
    q: Annotated[
        OptionalParameter[SearchInput],
        HasWords(User.id, UserWord.word, UserWord.user_id),
        Field(description=f"Words of the name or the e-mail address, or their beginnings. {SEARCH_RULES}"),
    ] = None
    available: Annotated[
        OptionalParameter[bool],
        ReceivesNewTickets(),
        Field(
            description="Whether new tickets can be assigned to the user now: `available` is on, and the user is "
            "active, not a customer, and may see and change tickets. `false` finds all others."
        ),
    ] = None

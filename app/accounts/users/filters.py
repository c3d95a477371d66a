"""The filters of the list of users: each is declared once, as a field of `UserFilters` with its operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field
from sqlalchemy import ColumnElement, and_, false, select

from app.access.user_permissions import RoleKind
from app.accounts.users.models import User, UserWord
from app.accounts.users.rules import UserStatus, prefix_upper_bound, query_terms
from app.core.database.filters import ColumnIsIn, ConditionOperator, Filters
from app.core.fields import Name, OptionalParameter

MAX_WORDS = 8


class TakesTickets(ConditionOperator):
    """Whether new tickets can be assigned to the user now."""

    # No index has the comparison of these columns together, so the list is read in its own order.
    columns = (User.id,)

    def condition(self, _org_id: UUID, values: Sequence[bool]) -> ColumnElement[bool]:
        """Compare the state of the user."""
        (takes_tickets,) = values
        return User.takes_tickets == takes_tickets


class HasWords(ConditionOperator):
    """Each term of the text is the beginning of a word of the user."""

    columns = (UserWord.word,)

    def condition(self, org_id: UUID, values: Sequence[str]) -> ColumnElement[bool]:
        """Look up the words. A text without words finds no user."""
        terms = [term for text in values for term in query_terms(text)]
        return and_(*(User.id.in_(self._users_with(org_id, term)) for term in terms)) if terms else false()

    def _users_with(self, org_id: UUID, term: str) -> Any:
        # Under row level security, a range can use the index. LIKE would read every user's words.
        return select(UserWord.user_id).where(
            UserWord.org_id == org_id, UserWord.word >= term, UserWord.word < prefix_upper_bound(term)
        )


def _limit_words(text: str) -> str:
    if len(query_terms(text)) > MAX_WORDS:
        raise ValueError(f"This may have at most {MAX_WORDS} words.")
    return text


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
        OptionalParameter[Annotated[Name, AfterValidator(_limit_words)]],
        HasWords(),
        Field(
            description="Beginnings of words of the name or the e-mail address, in any order, ignoring case and "
            f"accents. At most {MAX_WORDS} words."
        ),
    ] = None
    available: Annotated[
        OptionalParameter[bool],
        TakesTickets(),
        Field(
            description="Whether new tickets can be assigned to the user now: `available` is on, and the user is "
            "active, not a customer, and may see and change tickets. `false` finds all others."
        ),
    ] = None

"""The filters of the list of requesters: each is declared once, as a field of `RequesterFilters` with its operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement, SelectBase, func, select, union
from sqlalchemy.orm import InstrumentedAttribute

from app.accounts.users.models import User
from app.core.database.filters import SEARCH_RULES, ConditionOperator, Filters, HasWords
from app.core.email_addresses import KnownRequesterEmail
from app.core.fields import OptionalParameter, SearchInput
from app.requesters.fields import ExternalId
from app.requesters.models import Requester, RequesterWord

MAX_VALUES = 20


class IsFoundBy(ConditionOperator):
    """The requester is found by any of these addresses or ids of a product, also by one of a merged requester."""

    def __init__(
        self, column: InstrumentedAttribute[Any], *conditions: ColumnElement[bool] | InstrumentedAttribute[bool]
    ) -> None:
        self.columns = (column,)
        self._conditions = conditions

    def condition(self, org_id: UUID, values: Sequence[Any]) -> ColumnElement[bool]:
        """Look up the values."""
        # An array, because COALESCE is not leakproof: joined with it, the rows of all requesters would be read.
        return Requester.id == func.any(func.array(self._find(org_id, values).scalar_subquery()))

    def _find(self, org_id: UUID, values: Sequence[Any]) -> SelectBase:
        return select(func.coalesce(Requester.merged_into_id, Requester.id)).where(
            Requester.org_id == org_id, self.columns[0].in_(values), *self._conditions
        )


class HasEmail(IsFoundBy):
    """The requester has any of these addresses, or its account has: several requesters of an account may have it."""

    def __init__(self) -> None:
        super().__init__(Requester.email, Requester.owns_email)

    def _find(self, org_id: UUID, values: Sequence[Any]) -> SelectBase:
        accounts = select(User.id).where(User.org_id == org_id, User.email.in_(values))
        of_accounts = select(Requester.id).where(Requester.org_id == org_id, Requester.user_id.in_(accounts))
        return union(super()._find(org_id, values), of_accounts)


class RequesterFilters(Filters):
    """Select requesters. A repeated filter matches any of its values."""

    email: Annotated[
        list[KnownRequesterEmail],
        HasEmail(),
        Field(max_length=MAX_VALUES, description="E-mail addresses."),
    ] = []
    external_id: Annotated[
        list[ExternalId],
        IsFoundBy(Requester.external_id, Requester.external_id.is_not(None)),
        Field(max_length=MAX_VALUES, description="Your product's own ids."),
    ] = []
    q: Annotated[
        OptionalParameter[SearchInput],
        HasWords(Requester.id, RequesterWord.word, RequesterWord.requester_id),
        Field(description=f"Words of the name or the e-mail address, or their beginnings. {SEARCH_RULES}"),
    ] = None

"""The filters of lists: each is declared once, as a field of a schema that is marked with an operator.

The field defines the query parameter, its validation and its documentation. The operator defines the SQL condition.
`tests/schema/test_filter_indexes.py` checks that each column has its index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, SelectBase, and_, intersect, or_, select, union
from sqlalchemy.orm import InstrumentedAttribute

from app.core.fields import RequestModel
from app.core.search_texts import MAX_TERMS, Lookup, SearchText, Term
from app.core.words import prefix_upper_bound

# What every parameter `q` has in common, for its documentation.
SEARCH_RULES = (
    "All words must match, in any order; case, accents and invisible characters do not matter. `Mueller` and `Müller` "
    "find each other, and `oconnor` finds `O'Connor`. Text in a script without spaces, such as Chinese, is found by "
    "any part of it, a telephone number by its last digits or by its beginning with or without the country code, and a "
    f"name also without spaces or with the family name first. Of more than {MAX_TERMS} words, the rarest are looked "
    "for, and `note` in the response names the others. A text without letters and digits matches nothing, and `note` "
    "says so."
)


class Operator:
    """Compare columns with the values of a filter, in the way of the subclass.

    Attributes:
        columns: the columns that are compared. Each needs an index.
    """

    columns: tuple[InstrumentedAttribute[Any], ...]


AnyOperator = TypeVar("AnyOperator", bound=Operator)


class Filters(RequestModel):
    """The base of the filters of a list. A field without an operator, such as a cursor, is not a filter."""

    def values(self) -> dict[str, list[Any]]:
        """Return the values of each filter that was sent, by the name of its field."""
        operators = find_operators(type(self), Operator)
        values = ((name, getattr(self, name)) for name in operators if name in self.model_fields_set)
        return {name: value if isinstance(value, list) else [value] for name, value in values}


@cache
def find_operators(filters: type[Filters], kind: type[AnyOperator]) -> Mapping[str, AnyOperator]:
    """Return the operators of a kind that the fields of a schema are marked with, by the names of the fields."""
    return {
        name: mark for name, field in filters.model_fields.items() for mark in field.metadata if isinstance(mark, kind)
    }


# --- operators of lists that are read with SQLAlchemy ----------------------------------------------------------------


class ConditionOperator(Operator, ABC):
    """Make a condition of SQLAlchemy from the values of a filter."""

    @abstractmethod
    def condition(self, org_id: UUID, values: Sequence[Any]) -> ColumnElement[bool]:
        """Return a condition that holds if any of `values` matches. `values` is not empty."""


class ColumnIsIn(ConditionOperator):
    """The column has any of the values."""

    def __init__(self, column: InstrumentedAttribute[Any]) -> None:
        self.columns = (column,)

    def condition(self, _org_id: UUID, values: Sequence[Any]) -> ColumnElement[bool]:
        """Compare the column."""
        return self.columns[0].in_(values)


class HasWords(ConditionOperator):
    """The row has the words of the text, or words that begin with them. A text without words finds no row.

    Args:
        row_id: the id of the listed rows.
        word: the column of words, in a table with a row for each word.
        owner_id: the column of that table with the id of the listed row.
    """

    def __init__(
        self,
        row_id: InstrumentedAttribute[UUID],
        word: InstrumentedAttribute[str],
        owner_id: InstrumentedAttribute[UUID],
    ) -> None:
        self.columns = (word,)
        self._row_id, self._word, self._owner_id = row_id, word, owner_id

    def condition(self, org_id: UUID, values: Sequence[str]) -> ColumnElement[bool]:
        """Look up the words."""
        terms = [term for text in values for term in SearchText.parse(text).terms]
        if not terms:
            return self._row_id.is_(None)  # never true; `false()` would remove the other conditions from the statement
        return and_(*(self._row_id.in_(self._rows_with(org_id, term)) for term in terms))

    def _rows_with(self, org_id: UUID, term: Term) -> SelectBase:
        single = [alternative[0] for alternative in term.alternatives if len(alternative) == 1]
        rows: list[SelectBase] = [self._rows_with_any(org_id, single)] if single else []
        rows += [
            intersect(*(self._rows_with_any(org_id, [lookup]) for lookup in alternative))
            for alternative in term.alternatives
            if len(alternative) > 1
        ]
        return rows[0] if len(rows) == 1 else union(*rows)

    def _rows_with_any(self, org_id: UUID, lookups: Sequence[Lookup]) -> SelectBase:
        words_org_id = self._word.class_.org_id
        return select(self._owner_id).where(words_org_id == org_id, or_(*map(self._matches, lookups)))

    def _matches(self, lookup: Lookup) -> ColumnElement[bool]:
        # Under row level security, a range can use the index. LIKE would read every row's words.
        if lookup.is_whole:
            return self._word == lookup.word
        return and_(self._word >= lookup.word, self._word < prefix_upper_bound(lookup.word))


def make_conditions(org_id: UUID, filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters that were sent. A row must meet all of them."""
    operators = find_operators(type(filters), ConditionOperator)
    return [operators[name].condition(org_id, values) for name, values in filters.values().items()]

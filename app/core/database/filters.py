"""The filters of lists: each is declared once, as a field of a schema that is marked with an operator.

The field defines the query parameter, its validation and its documentation. The operator defines the SQL condition.
`tests/schema/test_filter_indexes.py` checks that each column has its index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from pydantic import AfterValidator
from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.core.fields import RequestModel
from app.core.words import prefix_upper_bound

MAX_WORDS = 8  # of the text of a filter


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
    """Each term of the text is the beginning of a word of the row. A text without words finds no row.

    Args:
        row_id: the id of the listed rows.
        word: the column of words, in a table with a row for each word.
        owner_id: the column of that table with the id of the listed row.
        split: returns the terms of a text.
    """

    def __init__(
        self,
        row_id: InstrumentedAttribute[UUID],
        word: InstrumentedAttribute[str],
        owner_id: InstrumentedAttribute[UUID],
        split: Callable[[str], Sequence[str]],
    ) -> None:
        self.columns = (word,)
        self._row_id, self._word, self._owner_id, self._split = row_id, word, owner_id, split

    def condition(self, org_id: UUID, values: Sequence[str]) -> ColumnElement[bool]:
        """Look up the words."""
        terms = [term for text in values for term in self._split(text)]
        if not terms:
            return self._row_id.is_(None)  # never true; `false()` would remove the other conditions from the statement
        return and_(*(self._row_id.in_(self._rows_with(org_id, term)) for term in terms))

    def _rows_with(self, org_id: UUID, term: str) -> Select[UUID]:
        # Under row level security, a range can use the index. LIKE would read every row's words.
        words_org_id = self._word.class_.org_id
        return select(self._owner_id).where(
            words_org_id == org_id, self._word >= term, self._word < prefix_upper_bound(term)
        )


def limit_words(split: Callable[[str], Sequence[str]]) -> AfterValidator:
    """Validate that a text, as `HasWords` splits it, has at most `MAX_WORDS` words."""

    def check(text: str) -> str:
        if len(split(text)) > MAX_WORDS:
            raise ValueError(f"This may have at most {MAX_WORDS} words.")
        return text

    return AfterValidator(check)


def make_conditions(org_id: UUID, filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters that were sent. A row must meet all of them."""
    operators = find_operators(type(filters), ConditionOperator)
    return [operators[name].condition(org_id, values) for name, values in filters.values().items()]

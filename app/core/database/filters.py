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

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from app.core.fields import RequestModel


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


def make_conditions(org_id: UUID, filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters that were sent. A row must meet all of them."""
    operators = find_operators(type(filters), ConditionOperator)
    return [operators[name].condition(org_id, values) for name, values in filters.values().items()]

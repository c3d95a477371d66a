"""Each column that a list is filtered or sorted by has its index, which ends in the order of the list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Index

from app.accounts.users.filters import UserFilters
from app.core.database.filters import Filters, Operator, find_operators
from app.core.outbox.models import Delivery
from app.models import Base
from app.notifications.filters import NotificationFilters
from app.requesters.filters import IsFoundBy, RequesterFilters
from app.tickets.lists.filters import TicketFilters, TicketSort
from app.tickets.lists.operators import Compares


@dataclass(frozen=True)
class List:
    """A list: its filters, its order, and the columns besides `org_id` that each of its queries compares."""

    filters: type[Filters]
    order: tuple[str, ...]
    fixed: tuple[Any, ...] = ()


LISTS = {
    "tickets": List(TicketFilters, ("created_at", "number")),
    "users": List(UserFilters, ("id",)),
    "requesters": List(RequesterFilters, ("id",)),
    "notifications": List(NotificationFilters, ("created_at", "id"), fixed=(Delivery.channel,)),
}
FILTERS = [
    (name, field, operator, column)
    for name, one in LISTS.items()
    for field, operator in find_operators(one.filters, Operator).items()
    for column in operator.columns
]


def list_indexes(table_name: str, compared: Iterable[str] = (), conditions: Iterable[str] = ()) -> set[tuple[str, ...]]:
    """Return the columns of each index of a table that a query can use; of its primary key too.

    Args:
        compared: the columns that the query compares with values, which are therefore not null.
        conditions: other conditions of the query.
    """
    table = Base.metadata.tables[table_name]
    met = {None, *conditions, *(f"{column} IS NOT NULL" for column in compared)}
    indexes = [index.columns for index in table.indexes if get_condition(index) in met]
    return {tuple(column.name for column in columns) for columns in (*indexes, table.primary_key.columns)}


def get_condition(index: Index) -> str | None:
    """Return the condition of a partial index; `None` if it has all rows."""
    condition = index.dialect_options["postgresql"]["where"]
    return None if condition is None else str(condition)


def expected_index(one: List, operator: Operator, column: Any) -> tuple[str, ...]:
    """Return the first columns of the index that a filter needs."""
    table = column.class_.__table__
    if isinstance(operator, IsFoundBy):  # at most one row has a value, so they need no order
        return ("org_id", column.key)
    fixed = tuple(other.key for other in one.fixed if other.class_ is column.class_)
    # A range can be read in the order of its own column only. Words of users are in a table without that order.
    order = one.order[-1:] if isinstance(operator, Compares) else one.order
    rest = (name for name in order if name in table.columns and name != column.key)
    return ("org_id", *fixed, column.key, *rest)


@pytest.mark.parametrize(
    ("name", "operator", "column"),
    [
        pytest.param(name, operator, column, id=f"{name} {field} {column.key}")
        for name, field, operator, column in FILTERS
    ],
)
def test_each_column_of_a_filter_has_its_index(name: str, operator: Operator, column: Any) -> None:
    expected = expected_index(LISTS[name], operator, column)
    compared = [column.key, *(other.key for other in LISTS[name].fixed if other.class_ is column.class_)]
    conditions = ["owns_email"] if isinstance(operator, IsFoundBy) else []
    indexes = list_indexes(column.class_.__tablename__, compared, conditions)
    assert any(index[: len(expected)] == expected for index in indexes), (expected, indexes)


@pytest.mark.parametrize("sort", TicketSort)
def test_each_order_of_tickets_has_its_index(sort: TicketSort) -> None:
    assert ("org_id", sort.column, "number") in list_indexes("tickets")


def test_a_partial_index_counts_only_if_the_query_compares_its_column() -> None:
    closed = ("org_id", "closed_at", "number")
    assert closed not in list_indexes("tickets")
    assert closed in list_indexes("tickets", ["closed_at"])


def test_every_list_with_filters_is_tested() -> None:
    assert {one.filters for one in LISTS.values()} == {
        filters for filters in Filters.__subclasses__() if find_operators(filters, Operator)
    }
    assert {field for name, field, _, _ in FILTERS if name == "users"} == {"role", "status", "q", "available"}
    assert {field for name, field, _, _ in FILTERS if name == "notifications"} == {"status", "ticket_id"}

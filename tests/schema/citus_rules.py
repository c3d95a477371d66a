"""The rules that let a statement run on Citus, checked on the syntax tree of what the service sends.

Citus is not available where the tests run. Each rule exists because a statement failed on Citus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar

import sqlglot
from sqlalchemy import DateTime
from sqlglot import exp
from sqlglot.expressions import Expression

import app.models  # noqa: F401 - all tables
from app.core.database.base import Base, TableKind, find_tables

PROTECTED = find_tables(TableKind.TENANT)
DIRECTORY = find_tables(TableKind.DIRECTORY)
DISTRIBUTED = find_tables(TableKind.TENANT, TableKind.UNPROTECTED_TENANT, TableKind.SIGN_IN)
_TIMES = {
    column.name
    for table in Base.metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, DateTime)
}
N = TypeVar("N", bound=Expression)

# Statements that may break the rules: a fragment that identifies each, on one line, and the reason.
EXCEPTIONS = {
    "FROM counters, LATERAL ( SELECT due_at FROM timers": "the worker looks for organisations with due timers",
    "FROM relays JOIN counters": "the worker looks for organisations with new events",
    "FROM counters JOIN relays ON relays.org_id = counters.org_id) AS events": "gauges of all organisations",
    "FROM users WHERE false": "no row is read",
    "FROM credentials JOIN organisations ON organisations.id = credentials.org_id": "sign-in by e-mail",
    "WITH RECURSIVE typeinfo_tree": "the driver reads the catalogue of types, which every node has",
}


def find_violations(sql: str) -> list[str]:
    """Describe how a statement breaks the rules; an empty list if it does not."""
    if any(part in re.sub(r"\s+", " ", sql) for part in EXCEPTIONS):
        return []
    # Two parameters and what is between them would be read as a quoted text: $1::uuid[])[array_position($2
    tree = sqlglot.parse_one(re.sub(r"\$(\d+)", r"%(p\1)s", sql), dialect="postgres")
    assert isinstance(tree, Expression)
    checks = (
        _check_inserts, _check_conflict_clauses, _check_updates, _check_recursion, _check_locks, _check_organisations
    )  # fmt: skip
    return [violation for check in checks for violation in check(tree)]


def _check_inserts(tree: Expression) -> Iterator[str]:
    """Refuse inserts that Citus would run as COPY, which row level security forbids."""
    for insert in tree.find_all(exp.Insert):
        table = insert.this.this.name if isinstance(insert.this, exp.Schema) else insert.this.name
        is_of_values = isinstance(insert.expression, exp.Values)
        is_in_cte = insert.find_ancestor(exp.CTE) is not None
        if table in PROTECTED and insert.args.get("returning") is None and (is_in_cte or not is_of_values):
            yield f"INSERT of a query, or in a CTE, into {table} without RETURNING"


def _check_conflict_clauses(tree: Expression) -> Iterator[str]:
    """Refuse parameters whose type Citus cannot find out."""
    for conflict in tree.find_all(exp.OnConflict):
        if conflict.find(exp.Placeholder) is not None:
            yield "a parameter in ON CONFLICT"


def _check_updates(tree: Expression) -> Iterator[str]:
    """Refuse a subscript as a value, which crashed the coordinator, and arithmetic of times, which is `STABLE`."""
    for update in tree.find_all(exp.Update):
        for assignment in update.expressions:
            column, value = assignment.this.name, assignment.expression
            if isinstance(value, exp.Bracket):
                yield f"an array subscript as the value of {column}"
            for sum_ in value.find_all(exp.Add, exp.Sub):
                if any(isinstance(side, exp.Column) and side.name in _TIMES for side in (sum_.this, sum_.expression)):
                    yield f"timestamptz ± interval in the value of {column}"


def _check_recursion(tree: Expression) -> Iterator[str]:
    """Refuse recursion, which has no filter on the organisation."""
    if any(clause.args.get("recursive") for clause in tree.find_all(exp.With)):
        yield "a recursive CTE"


def _check_locks(tree: Expression) -> Iterator[str]:
    """Refuse row locks on directory tables: they lock the rows of all organisations."""
    for lock in tree.find_all(exp.Lock):
        named = {table.name for table in lock.expressions or ()}
        query = lock.find_ancestor(exp.Select)
        assert query is not None
        for table in _find_own(query, exp.Table):
            if table.name in DIRECTORY and (not named or table.alias_or_name in named):
                yield f"a row lock on {table.name}"


def _check_organisations(tree: Expression) -> Iterator[str]:
    """Require that a query compares `org_id` of each of its distributed tables with a parameter or a constant."""
    for query in tree.find_all(exp.Select, exp.Update, exp.Delete):
        tables = {one.alias_or_name: one.name for one in _find_own(query, exp.Table) if one.name in DISTRIBUTED}
        compared = {column.table for column in _find_compared_columns(query)}
        for alias, name in tables.items():
            if alias not in compared and not (len(tables) == 1 and "" in compared):
                yield f"{name} without a plain org_id = <parameter>"


def _find_compared_columns(query: Expression) -> Iterator[exp.Column]:
    for comparison in _find_own(query, exp.EQ):
        for one, other in ((comparison.this, comparison.expression), (comparison.expression, comparison.this)):
            if isinstance(one, exp.Column) and one.name == "org_id" and _is_constant(other):
                yield one


def _is_constant(node: Expression) -> bool:
    while isinstance(node, exp.Cast | exp.Paren):
        node = node.this
    return isinstance(node, exp.Placeholder | exp.Literal)


def _find_own(query: Expression, kind: type[N]) -> Iterator[N]:
    """Yield the query's nodes of one type, without those of its subqueries and CTEs."""
    for node in query.walk(prune=lambda node: node is not query and isinstance(node, exp.Select | exp.CTE)):
        if isinstance(node, kind):
            yield node


def is_query(sql: str) -> bool:
    """Return whether a statement is a query, so that the rules apply."""
    return re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql) is not None

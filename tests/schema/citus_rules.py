"""The rules that let a statement run on Citus, checked on the syntax tree of what the product sends.

Citus is not available where the tests run. Each rule stands for a statement that failed on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pglast import ast, parse_sql
from pglast.visitors import Visitor
from sqlalchemy import DateTime

import app.models  # noqa: F401 - all tables
from app.core.database.base import Base, TableKind, find_tables

PROTECTED = find_tables(TableKind.TENANT)
DIRECTORY = find_tables(TableKind.DIRECTORY)
TENANT = find_tables(TableKind.TENANT, TableKind.UNPROTECTED_TENANT)
_TIMES = {
    column.name
    for table in Base.metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, DateTime)
}
_ADDITION = {"+", "-"}


def find_violations(sql: str) -> list[str]:
    """Describe how a statement breaks the rules; an empty list if it does not."""
    found: list[str] = []
    for statement in parse_sql(sql):
        checker = _Checker()
        checker(statement.stmt)
        found += checker.found
        found += _find_tables_without_organisation(statement.stmt)
    return found


class _Checker(Visitor):  # type: ignore[misc]
    """Collects the violations of the rules that concern one node of the tree."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_InsertStmt(self, ancestors: Any, node: Any) -> None:  # noqa: N802 - names of the library
        """Refuse inserts that Citus would run as COPY, which row level security forbids."""
        table = node.relation.relname
        is_of_values = node.selectStmt is not None and node.selectStmt.valuesLists is not None
        is_in_cte = any(isinstance(one, ast.CommonTableExpr) for one in _path(ancestors))
        if table in PROTECTED and not node.returningClause and (is_in_cte or not is_of_values):
            self.found.append(f"INSERT of a query, or in a CTE, into {table} without RETURNING")

    def visit_OnConflictClause(self, _ancestors: Any, node: Any) -> None:  # noqa: N802
        """Refuse parameters whose type Citus cannot find out."""
        if any(isinstance(one, ast.ParamRef) for one in _walk(node)):
            self.found.append("a parameter in ON CONFLICT")

    def visit_UpdateStmt(self, _ancestors: Any, node: Any) -> None:  # noqa: N802
        """Refuse a subscript as a value, which crashed the coordinator, and stable arithmetic of times."""
        for target in node.targetList:
            if isinstance(target.val, ast.A_Indirection):
                self.found.append(f"an array subscript as the value of {target.name}")
            if any(_is_stable_addition(one) for one in _walk(target.val)):
                self.found.append(f"timestamptz ± interval in the value of {target.name}")

    def visit_WithClause(self, _ancestors: Any, node: Any) -> None:  # noqa: N802
        """Refuse recursion, which has no filter on the organisation."""
        if node.recursive:
            self.found.append("a recursive CTE")

    def visit_LockingClause(self, ancestors: Any, node: Any) -> None:  # noqa: N802
        """Refuse row locks on directory tables: they lock the rows of all organisations."""
        select = next(one for one in _path(ancestors) if isinstance(one, ast.SelectStmt))
        named = {one.relname for one in node.lockedRels or ()}
        for one in _tables_of(select):
            if one.relname in DIRECTORY and (not named or _name_of(one) in named):
                self.found.append(f"a row lock on {one.relname}")


def _is_stable_addition(node: Any) -> bool:
    if not isinstance(node, ast.A_Expr) or node.name[0].sval not in _ADDITION:
        return False
    columns = [one for one in (node.lexpr, node.rexpr) if isinstance(one, ast.ColumnRef)]
    return any(column.fields[-1].sval in _TIMES for column in columns)


# --- every tenant table has its own `org_id = <parameter>` -----------------------------------------------------------


def _find_tables_without_organisation(statement: Any) -> Iterator[str]:
    for query in (one for one in _walk(statement) if isinstance(one, ast.SelectStmt | ast.UpdateStmt | ast.DeleteStmt)):
        tables = {_name_of(one): one.relname for one in _tables_of(query) if one.relname in TENANT}
        compared = {_table_of(column) for column in _compared_columns(query)}
        for alias, table in tables.items():
            if alias not in compared and not (len(tables) == 1 and None in compared):
                yield f"{table} without a plain org_id = <parameter>"


def _name_of(table: Any) -> str:
    return table.alias.aliasname if table.alias else table.relname


def _tables_of(query: Any) -> Iterator[Any]:
    """Yield the tables of a query itself, and not of its subqueries."""
    if not isinstance(query, ast.SelectStmt):
        yield query.relation
    clauses = query.fromClause if isinstance(query, ast.SelectStmt | ast.UpdateStmt) else query.usingClause
    yield from (one for one in _walk(clauses, within_subqueries=False) if isinstance(one, ast.RangeVar))


def _compared_columns(query: Any) -> Iterator[Any]:
    """Yield the columns `org_id` that a query compares with a parameter or a literal, in conditions and joins."""
    clauses = query.fromClause if isinstance(query, ast.SelectStmt | ast.UpdateStmt) else query.usingClause
    for node in _walk([query.whereClause, clauses], within_subqueries=False):
        if isinstance(node, ast.A_Expr) and node.name[0].sval == "=":
            for one, other in ((node.lexpr, node.rexpr), (node.rexpr, node.lexpr)):
                if isinstance(one, ast.ColumnRef) and one.fields[-1].sval == "org_id" and _is_constant(other):
                    yield one


def _table_of(column: Any) -> str | None:
    return column.fields[-2].sval if len(column.fields) > 1 else None


def _is_constant(node: Any) -> bool:
    while isinstance(node, ast.TypeCast):
        node = node.arg
    return isinstance(node, ast.ParamRef | ast.A_Const)


# --- the syntax tree -------------------------------------------------------------------------------------------------


def _path(ancestors: Any) -> Iterator[Any]:
    """Yield the nodes above a node, nearest first."""
    while ancestors is not None:
        yield ancestors.node
        ancestors = ancestors.parent


def _walk(node: Any, *, within_subqueries: bool = True) -> Iterator[Any]:
    if isinstance(node, list | tuple):
        for one in node:
            yield from _walk(one, within_subqueries=within_subqueries)
    elif isinstance(node, ast.Node):
        yield node
        if not within_subqueries and isinstance(node, ast.SelectStmt):
            return
        for slot in node:
            yield from _walk(getattr(node, slot), within_subqueries=within_subqueries)


def is_query(sql: str) -> bool:
    """Return whether the rules concern a statement: it reads or writes tables of the product."""
    return re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql) is not None

"""Rules of migrations: they distribute new tables, and name the oldest version that works with them."""

from __future__ import annotations

import ast
import re

import pytest

from app.core.database.base import TableKind, find_tables
from app.core.database.migrations import SCRIPTS


def find_undistributed_tables(source: str) -> list[str]:
    """Return the tables with `org_id` that a migration creates without calling `distribute` next.

    The coordinator keeps the tables that declare it (`LOCAL_TABLE`).
    """
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    undistributed: list[str] = []
    for call in calls:
        text_of_call, arguments = ast.unparse(call), [ast.unparse(one) for one in call.args]
        if ast.unparse(call.func) == "op.create_table" and "'org_id'" in text_of_call:
            table = arguments[0].strip("'")
            undistributed += {table} - find_tables(TableKind.LOCAL)
        elif ast.unparse(call.func) == "distribute" and undistributed and arguments[1].strip("'") == undistributed[-1]:
            undistributed.pop()
    return undistributed


def test_later_migrations_distribute_the_tables_that_they_create() -> None:
    """The first migration need not: `tessera migrate` distributes all tables that have no place at its end."""
    for path in sorted(SCRIPTS.glob("versions/*.py")):
        if 'revision = "0001"' not in path.read_text():
            assert find_undistributed_tables(path.read_text()) == [], path.name


def test_a_table_that_is_not_distributed_is_found() -> None:
    notes = 'op.create_table("notes", sa.Column("org_id", sa.Uuid()))\n'
    tags = 'op.create_table("tags", sa.Column("org_id", sa.Uuid()))\n'
    places = 'op.create_table("places", sa.Column("id", sa.Uuid()))\n'

    assert find_undistributed_tables(f'{places}{notes}distribute(op.get_bind(), "notes")\n') == []
    assert find_undistributed_tables(f'{notes}{tags}distribute(op.get_bind(), "tags")\n') == ["notes"]
    assert find_undistributed_tables(f'{notes}op.create_foreign_key()\ndistribute(op.get_bind(), "tags")\n') == [
        "notes"
    ]


# What the statements of the previous version may not survive.
BREAKING_CALLS = {
    "op.drop_table", "op.drop_column", "op.rename_table", "op.alter_column", "op.create_check_constraint",
    "op.create_unique_constraint", "op.create_foreign_key", "op.create_exclude_constraint",
}  # fmt: skip
BREAKING_SQL = re.compile(r"\b(DROP (TABLE|COLUMN)|RENAME|SET NOT NULL)\b", re.IGNORECASE)


def find_breaking_calls(source: str) -> list[str]:
    """Return the calls of a migration that the previous version may not survive, if it does not say who does."""
    module = ast.parse(source)
    if re.search(r"^oldest_supported = ", source, re.MULTILINE):
        return []
    (upgrade,) = (node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    new_tables = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "op.create_table"}
    return [ast.unparse(call) for call in calls if is_breaking(call, new_tables)]


def is_breaking(call: ast.Call, new_tables: set[str]) -> bool:
    name, text_of_call = ast.unparse(call.func), ast.unparse(call)
    if new_tables & {ast.unparse(argument) for argument in call.args}:
        return False  # no version has used this table yet
    match name:
        case "op.add_column":
            return "nullable=False" in text_of_call and "server_default=" not in text_of_call
        case "op.create_index":
            return "unique=True" in text_of_call
        case "op.execute":
            return bool(BREAKING_SQL.search(text_of_call))
        case _:
            return name in BREAKING_CALLS


def test_migrations_that_break_the_previous_version_name_the_oldest_that_works() -> None:
    for path in sorted(SCRIPTS.glob("versions/*.py")):
        if 'revision = "0001"' not in path.read_text():  # no version is older than the first migration
            assert find_breaking_calls(path.read_text()) == [], path.name


@pytest.mark.parametrize(
    ("call", "is_found"),
    [
        ('op.drop_column("tickets", "title")', True),
        ('op.alter_column("tickets", "title", nullable=False)', True),
        ('op.add_column("tickets", sa.Column("channel", sa.Text(), nullable=False))', True),
        ('op.add_column("tickets", sa.Column("channel", sa.Text(), nullable=False, server_default="x"))', False),
        ('op.add_column("tickets", sa.Column("channel", sa.Text(), nullable=True))', False),
        ('op.create_index("uq", "tickets", ["title"], unique=True)', True),
        ('op.create_index("ix", "tickets", ["title"], unique=False)', False),
        ('op.create_check_constraint("ck", "tickets", "number > 0")', True),
        ('op.execute("ALTER TABLE tickets RENAME COLUMN title TO subject")', True),
        ('op.execute("ALTER TABLE tickets ENABLE ROW LEVEL SECURITY")', False),
        ('op.create_table("notes"), op.create_unique_constraint("uq", "notes", ["id"])', False),
    ],
)
def test_a_migration_that_silently_breaks_the_previous_version_is_found(call: str, is_found: bool) -> None:
    body = f"def upgrade() -> None:\n    {call}\n"
    assert bool(find_breaking_calls(body)) == is_found
    assert find_breaking_calls(f'oldest_supported = "0003"\n{body}') == []
    assert find_breaking_calls(f"def upgrade() -> None:\n    pass\n{body.replace('upgrade', 'downgrade')}") == []

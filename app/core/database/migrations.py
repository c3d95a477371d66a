"""Migration of a database to the schema of this version, with Alembic."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError

SCRIPTS = Path(__file__).parents[3] / "migrations"


class NewerSchema(Exception):
    """The database has the schema of a newer version, whose migrations this version does not have."""


def migrate(owner_url: str, service_role: str | None = None) -> None:
    """Migrate to the newest revision. Blocks until it is done.

    Args:
        owner_url: the database, with the role that owns the tables.
        service_role: the role that the service connects with. If it is not the owner, it is granted what it needs.

    Raises:
        NewerSchema: The database is at a revision that this version does not have. Nothing was changed.
    """
    try:
        command.upgrade(make_alembic_config(owner_url, service_role), "head")
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise NewerSchema from error
        raise


def make_alembic_config(owner_url: str | None = None, service_role: str | None = None) -> Config:
    """Make Alembic's settings. `owner_url` may be `None` if only the scripts are read."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["url"] = owner_url
    config.attributes["service_role"] = service_role
    return config


@cache
def find_head_revision() -> str | None:
    """Return the migration that the code of this version needs."""
    return ScriptDirectory.from_config(make_alembic_config()).get_current_head()


def has_revision(revision: str | None) -> bool:
    """Return whether this version has the migrations up to a revision; `None` stands for a database without any."""
    known = {script.revision for script in ScriptDirectory.from_config(make_alembic_config()).walk_revisions()}
    return revision is None or revision in known

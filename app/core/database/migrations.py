"""Bringing a database to this version's schema, with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

SCRIPTS = Path(__file__).parents[3] / "migrations"


def migrate(owner_url: str, service_role: str | None = None) -> None:
    """Migrate to the newest revision, as the role that owns the tables; blocks until it is done.

    Args:
        service_role: whom the service connects as: it is granted what it needs, where it is another role.
    """
    command.upgrade(configuration(owner_url, service_role), "head")


def configuration(owner_url: str | None = None, service_role: str | None = None) -> Config:
    """Alembic's settings, for a database or none."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["url"] = owner_url
    config.attributes["service_role"] = service_role
    return config


def head_revision() -> str | None:
    """The migration that this version's code needs."""
    return ScriptDirectory.from_config(configuration()).get_current_head()

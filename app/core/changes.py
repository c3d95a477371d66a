"""Sets of changes: new values of some fields of a row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pydantic import MISSING


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The base of sets of changes. Fields that are `MISSING` stay as they are."""

    @property
    def values(self) -> dict[str, Any]:
        """The new values by the names of their fields."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not MISSING}

    def values_differing_from(self, row: object) -> dict[str, Any]:
        """Return the new values that a row does not have yet."""
        return {name: value for name, value in self.values.items() if getattr(row, name) != value}

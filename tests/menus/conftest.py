"""Fixtures that all tests of this folder share."""

from __future__ import annotations

from tests.services import api, start

__all__ = ["api", "start"]

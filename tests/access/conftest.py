"""Fixtures."""

from __future__ import annotations

from tests.services import start

__all__ = ["start"]

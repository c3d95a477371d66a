"""Fixtures of the tests of organisations."""

from __future__ import annotations

from tests.services import start

__all__ = ["start"]

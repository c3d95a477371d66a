"""Texts of a fixed form, which are refused in plain words instead of with a regular expression."""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Matches:
    """Require that a text matches a pattern; the JSON schema shows the pattern.

    Args:
        message: tells clients which form is needed, with an example.
    """

    def __init__(self, pattern: str, message: str) -> None:
        self.pattern = pattern
        self._expression = re.compile(pattern)
        self._message = message

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the value after the checks of its type."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the pattern."""
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, value: str) -> str:
        if not self._expression.fullmatch(value):
            raise ValueError(self._message)
        return value

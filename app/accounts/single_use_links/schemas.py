"""What crosses the wire of links: their tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

EXAMPLE_TOKEN = "tlt_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLEexample"  # noqa: S105 - nobody's

LinkToken = Annotated[
    str,
    Field(min_length=1, max_length=200, description="What follows `#token=` in the link.", examples=[EXAMPLE_TOKEN]),
]

"""Define the field for the token of a mailed link."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

EXAMPLE_TOKEN = "tlt_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLEexampleEXAMPLEexample"  # noqa: S105 - of the documentation

LinkToken = Annotated[
    str,
    Field(min_length=1, max_length=200, description="The text after `#token=` in the link.", examples=[EXAMPLE_TOKEN]),
]

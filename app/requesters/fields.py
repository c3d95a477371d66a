"""Define the fields of requesters that several schemas share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

from app.core.fields import clean_line

ExternalId = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), BeforeValidator(clean_line)
]

"""What crosses the wire about pictures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.core.fields import EXAMPLE_ID, Out, OutTime


class PictureOut(Out):
    """Where your picture is, and since when."""

    picture_url: Annotated[str, Field(examples=[f"/users/{EXAMPLE_ID}/picture"])]
    updated_at: OutTime

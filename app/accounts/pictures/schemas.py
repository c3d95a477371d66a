"""Define the response about a user's picture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.core.fields import EXAMPLE_ID, ResponseModel, UpdatedAt


class ProfilePicture(ResponseModel):
    """The signed-in user's picture."""

    picture_url: Annotated[
        str, Field(description="The path of the picture in this API.", examples=[f"/users/{EXAMPLE_ID}/picture"])
    ]
    updated_at: UpdatedAt

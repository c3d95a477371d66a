"""Errors about pictures."""

from __future__ import annotations

from app.core.errors import BadInput, NotFound
from app.core.threads import Busy

MAX_PIXELS = 40_000_000


class PictureNotFound(NotFound):
    """The user has no picture."""

    code = "picture_not_found"
    title = "This user has no picture."
    advice = "Show a placeholder instead."


class NotAnImage(BadInput):
    """The file is not in a supported format, or it is broken."""

    code = "not_an_image"
    title = "The file is not a JPEG, PNG, WebP or GIF image, or it is broken."
    advice = "Send a JPEG, PNG, WebP or GIF image."
    field = "file"


class ImageTooLarge(BadInput):
    """The image has too many pixels."""

    code = "image_too_large"
    title = f"The image is too large: at most {MAX_PIXELS // 1_000_000} million pixels are allowed."
    advice = "Scale it down first."
    field = "file"


class TooManyPictures(Busy):
    """The service has as many pictures to process as it can take."""

    code = "too_many_pictures"
    title = "Too many pictures are being processed right now: try again in a moment."

"""What can go wrong with pictures."""

from __future__ import annotations

from app.core.errors import BadInput, NotFound
from app.core.threads import Busy

MAX_PIXELS = 40_000_000


class PictureNotFound(NotFound):
    """The user has no picture."""

    code = "picture_not_found"
    title = "This user has no picture."


class NotAnImage(BadInput):
    """The file is in none of the supported formats, or broken."""

    code = "not_an_image"
    title = "The file is not a JPEG, PNG, WebP or GIF image, or it is broken."
    field = "file"


class ImageTooLarge(BadInput):
    """The image has more than `MAX_PIXELS` pixels."""

    code = "image_too_large"
    title = f"The image is too large: at most {MAX_PIXELS // 1_000_000} million pixels are allowed."
    field = "file"


class TooManyPictures(Busy):
    """Too many pictures are waiting to be decoded."""

    code = "too_many_pictures"
    title = "Too many pictures are being processed right now: try again in a moment."

"""Pictures as they are kept: decoded from whatever somebody sends, and encoded anew."""

from __future__ import annotations

import re
from functools import partial
from io import BytesIO
from itertools import islice
from typing import IO

from PIL import Image
from PIL.Image import Resampling, Transpose

from app.core.errors import BadInput, FieldError
from app.core.threads import BoundedThreads, Busy

MAX_SIDE = 512  # pixels
MAX_PIXELS = 40_000_000
MAX_DECODING = 1  # the largest takes some 300 MB for as long as it runs
MAX_WAITING = 16
# Of a JPEG that comes bit by bit: each goes over the whole image again, though it may say nothing. Programs write ten.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000  # all scans together, which takes a second or two
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUALITY = 82

# These can be made smaller as they are; others, such as those with a palette, have to be made one of them first.
_DIRECT = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
# How a scan begins (ITU-T T.81, B.2.3): its marker, its length, and the number of components that goes with it. No
# compressed data can look so, and a decoder takes nothing else for one: there are as many, or fewer.
_SCAN = re.compile(rb"\xff\xda\x00(?:\x06\x00|\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_WITH_SCANS = frozenset({"JPEG", "MPO"})  # the latter is several of the former in one
_TOO_MANY_SCANS = "This JPEG has too many scans: save it anew, as a usual one."
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

# Some decoders reserve their memory as soon as they have read the size: Pillow then looks at it first.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class NotAnImage(BadInput):
    """It is none of the formats, or broken."""

    code = "not_an_image"
    title = "The file is not a JPEG, PNG, WebP or GIF image, or it is broken."


class ImageTooLarge(BadInput):
    """It has more pixels than anybody's picture needs."""

    code = "image_too_large"
    title = f"The image is too large: it may have {MAX_PIXELS // 1_000_000} million pixels."


class TooManyPictures(Busy):
    """Too many pictures wait to be decoded."""

    code = "too_many_pictures"
    title = "Too many pictures are being set right now: try again in a moment."


_threads = BoundedThreads(MAX_DECODING, MAX_WAITING, TooManyPictures)


async def normalised(file: IO[bytes]) -> bytes:
    """The picture in a file as WebP: small, upright, and without anything but its pixels. Off the event loop.

    Raises:
        NotAnImage, ImageTooLarge
        TooManyPictures: too many are waiting already.
    """
    return await _threads.run(partial(encoded_anew, file))


def encoded_anew(file: IO[bytes]) -> bytes:
    """The same, here and now."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            _check_size(image)
            if image.format in _WITH_SCANS:
                _check_scans(image, file)
            return _encoded(_upright(_small(image), _orientation_of(image)))
    except (ImageTooLarge, NotAnImage):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large() from None
    except Exception:  # noqa: BLE001 - a hostile file makes a decoder raise nearly anything
        raise NotAnImage(errors=[FieldError("file", NotAnImage.title)]) from None


def _check_size(image: Image.Image) -> None:
    # It is known from the header alone: nothing has been decoded yet.
    if image.width * image.height > MAX_PIXELS:
        raise _too_large()


def _check_scans(image: Image.Image, file: IO[bytes]) -> None:
    # Of an animation only the first frame is ever decoded: in other formats, the size alone says what there is to do.
    at = file.tell()
    file.seek(0)
    scans = sum(1 for _ in islice(_SCAN.finditer(file.read()), MAX_SCANS + 1))
    file.seek(at)
    if scans > MAX_SCANS or scans * image.width * image.height > MAX_SCANNED_PIXELS:
        raise NotAnImage(_TOO_MANY_SCANS, errors=[FieldError("file", _TOO_MANY_SCANS)])


def _too_large() -> ImageTooLarge:
    return ImageTooLarge(errors=[FieldError("file", ImageTooLarge.title)])


def _small(image: Image.Image) -> Image.Image:
    if image.mode not in _DIRECT or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((MAX_SIDE, MAX_SIDE), Resampling.LANCZOS)  # never larger than it was
    return image


def _orientation_of(image: Image.Image) -> int:
    """How the camera was held; as usual where that cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - as above; but the pixels are good
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _encoded(image: Image.Image) -> bytes:
    bare = image.convert("RGBA" if image.has_transparency_data else "RGB")
    bare.info.clear()  # place and time, camera, comments, colour profile
    made = BytesIO()
    bare.save(made, "WEBP", quality=QUALITY)
    return made.getvalue()

"""Decode an uploaded image and encode it as a small WebP without metadata."""

from __future__ import annotations

import re
from functools import partial
from io import BytesIO
from itertools import islice
from typing import IO

from PIL import Image, PngImagePlugin
from PIL.Image import Resampling, Transpose

from app.accounts.pictures.colours import MAX_PROFILE_BYTES, convert_to_srgb, read_sample_format, reduce_to_8_bits
from app.accounts.pictures.errors import MAX_PIXELS, ImageTooLarge, NotAnImage, TooManyPictures
from app.core.threads import BoundedThreads

OUTPUT_MAX_SIDE = 512  # pixels
MAX_CONCURRENT_DECODINGS = 1  # images at a time; decoding the largest takes about 300 MB
MAX_WAITING_DECODINGS = 16
# A progressive JPEG consists of scans. Each costs a pass over the whole image, even if it is empty. Common encoders
# write about ten.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000  # of all scans together; takes a second or two
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
# In a PNG file, each can be 1000 times as large as what was compressed.
MAX_PROFILES = 10
WEBP_QUALITY = 82

# Modes that can be resized directly. Others, such as those with a palette, are converted first.
_RESIZABLE_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_EXIF_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
# The header of a scan (ITU-T T.81, B.2.3): marker, length, and the matching number of components. Compressed data never
# contains it, and a decoder accepts no other header, so the number of matches is at least the number of scans.
_SCAN_HEADER = re.compile(rb"\xff\xda\x00(?:\x06\x00|\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_FORMATS_WITH_SCANS = frozenset({"JPEG", "MPO"})  # an MPO file contains several JPEGs
_TOO_MANY_SCANS = "This JPEG has too many scans: save it again as a baseline JPEG."
_TRANSPOSE_BY_ORIENTATION = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

# Some decoders allocate memory as soon as they have read the size, so Pillow itself must check it before
# it starts a decoder.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Of any compressed text or profile. The default of 1 MB would refuse the profiles of some printers.
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES


_threads = BoundedThreads(MAX_CONCURRENT_DECODINGS, MAX_WAITING_DECODINGS, TooManyPictures)


async def normalise_image(file: IO[bytes]) -> bytes:
    """Convert an image file to a small, upright WebP without metadata, in a thread.

    Raises:
        NotAnImage, ImageTooLarge
        TooManyPictures: `MAX_WAITING_DECODINGS` pictures are waiting already.
    """
    return await _threads.run(partial(convert_to_webp, file))


def convert_to_webp(file: IO[bytes]) -> bytes:
    """Convert an image file to a small, upright WebP without metadata; blocks.

    Raises:
        NotAnImage, ImageTooLarge
    """
    try:
        _check_profiles(file)
        with Image.open(file, formats=FORMATS) as image:
            _check_size(image)
            if image.format in _FORMATS_WITH_SCANS:
                _check_scans(image, file)
            return _encode(_rotate_upright(convert_to_srgb(_shrink(image)), _read_orientation(image)))
    except (ImageTooLarge, NotAnImage):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge from None
    except Exception:  # noqa: BLE001 - decoders raise all kinds of errors for hostile files
        raise NotAnImage from None


def _check_profiles(file: IO[bytes]) -> None:
    # Pillow decompresses each of them when it reads the header. Compressed data hardly ever contains the word.
    if _read_all(file).count(b"iCCP") > MAX_PROFILES:
        raise NotAnImage


def _read_all(file: IO[bytes]) -> bytes:
    """Read a file from its start, and restore the position."""
    position = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(position)
    return content


def _check_size(image: Image.Image) -> None:
    # The size comes from the header; nothing has been decoded yet.
    if image.width * image.height > MAX_PIXELS:
        raise ImageTooLarge


def _check_scans(image: Image.Image, file: IO[bytes]) -> None:
    # Only JPEG needs this: in other formats the size alone determines the cost, as only the first frame is decoded.
    scans = sum(1 for _ in islice(_SCAN_HEADER.finditer(_read_all(file)), MAX_SCANS + 1))
    if scans > MAX_SCANS or scans * image.width * image.height > MAX_SCANNED_PIXELS:
        raise NotAnImage(_TOO_MANY_SCANS)


def _shrink(image: Image.Image) -> Image.Image:
    image = reduce_to_8_bits(image, read_sample_format(image))
    if image.mode not in _RESIZABLE_MODES or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((OUTPUT_MAX_SIDE, OUTPUT_MAX_SIDE), Resampling.LANCZOS)  # never enlarges
    return image


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) if it cannot be read."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken EXIF data raises all kinds of errors, but the pixels are valid
        return 1


def _rotate_upright(image: Image.Image, orientation: int) -> Image.Image:
    transpose = _TRANSPOSE_BY_ORIENTATION.get(orientation)
    return image if transpose is None else image.transpose(transpose)


def _encode(image: Image.Image) -> bytes:
    image.info.clear()  # location, time, camera, comments, colour profile
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=WEBP_QUALITY)
    return buffer.getvalue()

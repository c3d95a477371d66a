"""Real images, and files that only look like one."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

GPS = 0x8825
ORIENTATION, CAMERA = 0x0112, 0x0110


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode an image as a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(file: bytes) -> Image.Image:
    """Decode the image in a file completely."""
    image = Image.open(BytesIO(file))
    image.load()
    return image


def photograph(orientation: int = 1) -> bytes:
    """Return a JPEG of 800 by 600 pixels, red on the left and blue on the right, with a camera's metadata."""
    image = Image.new("RGB", (800, 600), "blue")
    image.paste("red", (0, 0, 400, 600))
    exif = Image.Exif()
    exif[ORIENTATION], exif[CAMERA] = orientation, "Spycam 3000"
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.5), 3: "E", 4: (13.0, 24.0, 17.9)})
    return encode(
        image, "JPEG", exif=exif, comment=b"Spycam comment", xmp=b"<x>Spycam packet</x>", icc_profile=b"Spycam"
    )


def noise(side: int) -> Image.Image:
    """Return an image that cannot be compressed."""
    return Image.effect_noise((side, side), 100).convert("RGB")


def chunk_names(webp: bytes) -> list[bytes]:
    """Return the names of the chunks in a WebP file (RFC 9649)."""
    assert (webp[:4], webp[8:12]) == (b"RIFF", b"WEBP")
    found, at = [], 12
    while at < len(webp):
        found.append(webp[at : at + 4])
        size = int.from_bytes(webp[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return found


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """Return a few bytes of PNG whose header declares this size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", head) + _png_chunk(b"IDAT", pixels) + _png_chunk(b"IEND", b"")


def webp_bomb(width: int, height: int) -> bytes:
    """Return a few bytes of WebP whose header declares this size."""
    canvas = struct.pack("<I", 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = encode(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_bomb(width: int, height: int) -> bytes:
    """Return a few bytes of GIF whose header declares this size."""
    small = encode(Image.new("P", (1, 1)), "GIF")
    return small[:6] + struct.pack("<HH", width, height) + small[10:]


def jpeg_bomb(width: int, height: int) -> bytes:
    """Return a few bytes of JPEG whose header declares this size."""
    small = encode(Image.new("RGB", (1, 1)), "JPEG")
    at = small.index(b"\xff\xc0") + 5
    return small[:at] + struct.pack(">HH", height, width) + small[at + 4 :]


def jpeg_with_scans(width: int, height: int, scans: int) -> bytes:
    """Return a progressive JPEG with this many scans; all after the first six are empty."""
    whole = encode(Image.new("L", (width, height)), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * (scans - 6) + whole[-2:]

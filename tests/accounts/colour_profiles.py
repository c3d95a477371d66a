"""Colour profiles (ICC.1:2022) and the PNG files that need one, or that have other than 8 bits per sample."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Sequence

_D50 = (0.9642, 1.0, 0.8249)
# The primaries of Display P3, adapted to D50.
_DISPLAY_P3 = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


# The curve of sRGB and of Apple's Display P3, as a parametric curve of type 3; and the power that comes close to it.
SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
GAMMA_22_CURVE = b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x0233)
_LINEAR_CURVE = b"curv\0\0\0\0\0\0\0\0"


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + b"\0" * (-len(content) % 4)
    size = start + len(data)
    head = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02400000, kind, space, connection, b"acsp")
    return head.ljust(68, b"\0") + _fixed(*_D50) + b"\0" * 48 + table + data


def display_p3(curve: bytes = GAMMA_22_CURVE) -> bytes:
    """Return a profile of Display P3."""
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    primaries = {name: _xyz(values) for name, values in _DISPLAY_P3.items()}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {b"wtpt": _xyz(_D50), **primaries, **curves})


def linear_grey() -> bytes:
    """Return a profile of grey whose samples are proportional to the light."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(_D50), b"kTRC": _LINEAR_CURVE})


def orange_ink() -> bytes:
    """Return a profile of a printer that has an orange ink in place of cyan."""
    ramp = bytes(range(256))
    paper, orange, other = (255, 128, 128), (178, 168, 188), (0, 128, 128)  # Lab (100, 0, 0), (70, 40, 60), (0, 0, 0)
    grid = b"".join(
        bytes(other if any(rest) else orange if first else paper)
        for first, *rest in itertools.product((0, 1), repeat=4)
    )
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + grid + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(_D50), b"A2B0": table})


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int, colour_type: int, row: bytes, **chunks: bytes) -> bytes:
    """Return a PNG file whose rows are all the same.

    Args:
        colour_type: 0 for grey, 2 for RGB, 4 for grey with alpha, 6 for RGB with alpha.
        chunks: further chunks, such as `tRNS`.
    """
    head = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    between = b"".join(_chunk(name.encode(), data) for name, data in chunks.items())
    pixels = _chunk(b"IDAT", zlib.compress((b"\0" + row) * size[1]))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + between + pixels + _chunk(b"IEND", b"")


def embed(profile: bytes) -> bytes:
    """Return the content of a PNG file's `iCCP` chunk."""
    return b"x\0\0" + zlib.compress(profile)

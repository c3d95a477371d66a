"""Colours of pictures: colour profiles, more or fewer than 8 bits per sample, transparent colours."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from PIL import Image, ImageCms

from app.accounts.pictures.colours import MAX_PROFILE_BYTES
from app.accounts.pictures.image import MAX_PROFILES
from tests.accounts.colour_profiles import SRGB_CURVE, display_p3, embed, linear_grey, orange_ink, png
from tests.accounts.images import encode
from tests.accounts.pictures.uploads import upload_and_download, upload_picture
from tests.accounts.users_and_roles import ok
from tests.organisation_client import Desk
from tests.problems import read_invalid_fields

SIDE = 64
IN_P3, IN_SRGB = (200, 90, 60), (217, 80, 45)


def get_pixel(image: Image.Image, x: int = SIDE // 2, y: int = SIDE // 2) -> tuple[int, ...]:
    pixel: Any = image.getpixel((x, y))
    return tuple(pixel)


def is_near(pixel: tuple[int, ...], colour: tuple[int, ...], difference: int = 2) -> bool:
    return all(abs(actual - expected) <= difference for actual, expected in zip(pixel, colour, strict=True))


def plain(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (SIDE, SIDE), colour)


class TestProfiles:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    async def test_display_p3_becomes_srgb(self, desk: Desk, kind: str) -> None:
        options: dict[str, Any] = {"quality": 100} | ({"lossless": True} if kind == "WEBP" else {})
        file = encode(plain("RGB", IN_P3), kind, icc_profile=display_p3(), **options)
        picture = await upload_and_download(desk.admin, file)
        assert is_near(get_pixel(picture), IN_SRGB, 3 if kind == "JPEG" else 2), get_pixel(picture)
        assert "icc_profile" not in picture.info

    async def test_the_curve_of_a_profile_matters(self, desk: Desk) -> None:
        file = encode(plain("RGB", IN_P3), icc_profile=display_p3(SRGB_CURVE))
        assert is_near(get_pixel(await upload_and_download(desk.admin, file)), (216, 81, 49))

    @pytest.mark.parametrize("alpha", [0, 128, 255])
    async def test_the_transparency_of_an_image_with_a_profile_is_kept(self, desk: Desk, alpha: int) -> None:
        image = plain("RGBA", (*IN_P3, alpha))
        image.paste((*IN_P3, 255), (0, 0, SIDE // 4, SIDE))
        picture = await upload_and_download(desk.admin, encode(image, icc_profile=display_p3()))
        assert is_near(get_pixel(picture.convert("RGBA"), 4), (*IN_SRGB, 255))
        assert is_near(get_pixel(picture.convert("RGBA"))[3:], (alpha,), 1)

    async def test_a_palette_and_a_transparent_colour_are_converted(self, desk: Desk) -> None:
        palette = plain("RGB", IN_P3)
        palette.paste((0, 0, 255), (0, 0, SIDE // 2, SIDE))
        indexed = palette.quantize(2)
        transparent = int(indexed.getpixel((1, 1)))  # type: ignore[arg-type]
        file = encode(indexed, icc_profile=display_p3(), transparency=transparent)
        picture = await upload_and_download(desk.admin, file)
        assert get_pixel(picture, 4)[3] == 0
        assert is_near(get_pixel(picture, SIDE - 4), (*IN_SRGB, 255))

    async def test_grey_with_an_rgb_profile_and_with_a_grey_one_is_converted(self, desk: Desk) -> None:
        linear = await upload_and_download(desk.admin, encode(plain("L", 55), icc_profile=linear_grey()))
        assert is_near(get_pixel(linear), (128, 128, 128), 3)  # 0.2159 of the light
        with_alpha = encode(plain("LA", (55, 90)), icc_profile=linear_grey())
        assert is_near(get_pixel(await upload_and_download(desk.admin, with_alpha)), (128, 128, 128, 90), 3)
        in_p3 = await upload_and_download(desk.admin, encode(plain("L", 100), icc_profile=display_p3()))
        assert is_near(get_pixel(in_p3), (100, 100, 100))

    async def test_cmyk_is_converted_by_its_profile(self, desk: Desk) -> None:
        def cmyk(*ink: int) -> bytes:
            return encode(plain("CMYK", ink), "JPEG", quality=100, icc_profile=orange_ink())

        assert is_near(get_pixel(await upload_and_download(desk.admin, cmyk(0, 0, 0, 0))), (255, 255, 255), 4)
        assert is_near(get_pixel(await upload_and_download(desk.admin, cmyk(255, 0, 0, 0))), (248, 142, 59), 6)
        without_profile = encode(plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=100)
        assert is_near(get_pixel(await upload_and_download(desk.admin, without_profile)), (0, 255, 255), 6)

    @pytest.mark.parametrize(
        "profile",
        [
            b"nonsense",
            b"\0" * 5000,
            display_p3()[:200],
            display_p3()[:128],
            display_p3().replace(b"XYZ ", b"Lab "),
            display_p3().replace(b"RGB ", b"Lab "),
            display_p3().replace(b"rTRC", b"xTRC"),
            display_p3() + b"\0" * MAX_PROFILE_BYTES,
            linear_grey(),
            orange_ink(),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(),
        ],
        ids=[
            "nonsense", "zeros", "cut", "head", "other types", "other space", "no curve", "huge", "grey", "cmyk",
            "Lab", "XYZ",
        ],
    )  # fmt: skip
    async def test_a_profile_that_is_broken_huge_or_of_other_colours_is_ignored(
        self, desk: Desk, profile: bytes
    ) -> None:
        file = encode(plain("RGB", IN_P3), "JPEG", quality=100, icc_profile=profile)
        assert is_near(get_pixel(await upload_and_download(desk.admin, file)), IN_P3, 3)

    async def test_a_profile_with_any_damage_never_fails(self, desk: Desk) -> None:
        profile = bytearray(display_p3())
        for position in range(0, len(profile), 37):
            broken = profile.copy()
            broken[position : position + 4] = b"\xff\xff\xff\xff"
            file = encode(plain("RGB", IN_P3), "WEBP", icc_profile=bytes(broken))
            if position % 5 == 0:  # uploads are limited
                await upload_and_download(desk.admin, file)

    async def test_many_compressed_profiles_are_rejected_before_they_are_decompressed(self, desk: Desk) -> None:
        bomb = embed(b"\0" * MAX_PROFILE_BYTES)
        file = png((1, 1), 8, 0, b"\0", iCCP=bomb)
        chunk = file[file.index(b"iCCP") - 4 :][: len(bomb) + 12]
        many = file.replace(chunk, chunk * 1000)
        started = time.perf_counter()
        assert read_invalid_fields(await upload_picture(desk.admin, many), "not_an_image") == {"file"}
        assert time.perf_counter() - started < 1
        few = file.replace(chunk, chunk * MAX_PROFILES)
        ok(await upload_picture(desk.admin, few))


class TestDepths:
    async def test_a_16_bit_grey_png_keeps_its_greys(self, desk: Desk) -> None:
        for grey in (0, 0x1234, 0x8000, 0xC0FF, 0xFFFF):
            file = png((SIDE, SIDE), 16, 0, struct.pack(">H", grey) * SIDE)
            picture = await upload_and_download(desk.admin, file)
            assert is_near(get_pixel(picture), (grey >> 8,) * 3), grey

    async def test_a_16_bit_grey_png_with_a_profile_is_converted(self, desk: Desk) -> None:
        file = png((SIDE, SIDE), 16, 0, struct.pack(">H", 55 * 257) * SIDE, iCCP=embed(linear_grey()))
        assert is_near(get_pixel(await upload_and_download(desk.admin, file)), (128, 128, 128), 3)

    async def test_16_bit_colours_and_alpha_are_kept(self, desk: Desk) -> None:
        colour = struct.pack(">3H", 0xC8C8, 0x5A00, 0x3C80)
        rgb = await upload_and_download(desk.admin, png((SIDE, SIDE), 16, 2, colour * SIDE))
        assert is_near(get_pixel(rgb), IN_P3)
        rgba = await upload_and_download(desk.admin, png((SIDE, SIDE), 16, 6, (colour + b"\x80\0") * SIDE))
        assert is_near(get_pixel(rgba), (*IN_P3, 128))
        grey = await upload_and_download(desk.admin, png((SIDE, SIDE), 16, 4, b"\x64\0\x80\0" * SIDE))
        assert is_near(get_pixel(grey), (100, 100, 100, 128))
        in_p3 = png((SIDE, SIDE), 16, 2, colour * SIDE, iCCP=embed(display_p3()))
        assert is_near(get_pixel(await upload_and_download(desk.admin, in_p3)), IN_SRGB, 3)

    @pytest.mark.parametrize(
        ("depth", "colour_type", "sample", "transparent"),
        [
            (1, 0, b"\xff\x00", b"\0\1"),
            (2, 0, b"\xaa\x55", b"\0\2"),
            (4, 0, b"\xbb\x44", b"\0\x0b"),
            (8, 0, b"\xbb\x44", b"\0\xbb"),
            (16, 0, b"\x80\0\x80\1", b"\x80\0"),
            (8, 2, b"\1\2\3\4\5\6", b"\0\1\0\2\0\3"),
            (16, 2, b"\xff\xff\0\0\0\0\0\0\0\0\0\0", b"\xff\xff\0\0\0\0"),
        ],
    )
    async def test_the_transparent_colour_of_every_depth_is_transparent(
        self, desk: Desk, depth: int, colour_type: int, sample: bytes, transparent: bytes
    ) -> None:
        """The left half of the image has the transparent colour, and the right half another."""
        half = len(sample) // 2
        times = SIDE // 2 * depth * (3 if colour_type == 2 else 1) // 8 // half
        row = sample[:half] * times + sample[half:] * times
        picture = await upload_and_download(desk.admin, png((SIDE, SIDE), depth, colour_type, row, tRNS=transparent))
        assert (get_pixel(picture, 4)[3], get_pixel(picture, SIDE - 4)[3]) == (0, 255)

    async def test_one_bit_stays_black_and_white(self, desk: Desk) -> None:
        picture = await upload_and_download(desk.admin, png((SIDE, SIDE), 1, 0, b"\xff" * 4 + b"\0" * 4))
        assert is_near(get_pixel(picture, 4), (255, 255, 255), 4)
        assert is_near(get_pixel(picture, SIDE - 4), (0, 0, 0), 4)

    async def test_an_image_with_a_profile_is_still_rotated(self, desk: Desk) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        image = Image.new("RGB", (80, 40), IN_P3)
        picture = await upload_and_download(
            desk.admin, encode(image, "JPEG", quality=100, exif=exif, icc_profile=display_p3())
        )
        assert picture.size == (40, 80)
        assert is_near(get_pixel(picture, 20, 40), IN_SRGB, 3)

"""Pictures of users: accepted files, their conversion, and refused files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image

from app.accounts.pictures.upload import MAX_FILE_BYTES
from tests.accounts.images import (
    chunk_names,
    decode,
    encode,
    gif_bomb,
    jpeg_bomb,
    noise,
    photograph,
    png_bomb,
    webp_bomb,
)
from tests.accounts.pictures.uploads import SMALL, get_picture, upload_and_download, upload_picture
from tests.accounts.users_and_roles import ok
from tests.organisation_client import Api, Desk
from tests.problems import assert_problem, read_invalid_fields

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def has_colour(image: Image.Image, at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    """Return whether a pixel has this colour, within the losses of compression."""
    pixel: Any = image.convert("RGB").getpixel(at)
    return all(abs(actual - expected) < 40 for actual, expected in zip(pixel, colour, strict=True))


class TestConversion:
    async def test_the_picture_is_a_webp_linked_from_the_profile(self, desk: Desk) -> None:
        answer = await upload_picture(desk.admin, SMALL)
        body = ok(answer)
        assert body.keys() == {"pictureUrl", "updatedAt"}
        assert body["updatedAt"].endswith("Z")
        assert ok(await desk.admin.get("/me"))["pictureUrl"] == body["pictureUrl"]

        picture = await desk.admin.get(body["pictureUrl"])
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
        assert picture.headers["x-content-type-options"] == "nosniff"
        assert decode(picture.content).format == "WEBP"

    @pytest.mark.parametrize(
        ("size", "kept"),
        [
            ((2000, 1000), (512, 256)),
            ((300, 900), (171, 512)),
            ((513, 513), (512, 512)),
            ((512, 512), (512, 512)),
            ((40, 30), (40, 30)),
            ((1, 1), (1, 1)),
            ((20_000, 1), (512, 1)),
        ],
    )
    async def test_pictures_are_shrunk_to_512_pixels_a_side_and_never_enlarged(
        self, desk: Desk, size: tuple[int, int], kept: tuple[int, int]
    ) -> None:
        assert (await upload_and_download(desk.admin, encode(Image.new("RGB", size)))).size == kept

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
    async def test_the_format_is_detected_from_the_content(self, desk: Desk, kind: str) -> None:
        file = encode(Image.new("RGB", (600, 300), "red"), kind)
        ok(await upload_picture(desk.admin, file, "me.exe", "text/html"))
        kept = decode((await get_picture(desk.admin)).content)
        assert kept.size == (512, 256)
        assert has_colour(kept, (256, 128), RED)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
    async def test_every_colour_mode_is_converted(self, desk: Desk, mode: str) -> None:
        kind = {"CMYK": "JPEG", "PA": "GIF"}.get(mode, "PNG")
        image = Image.new("L", (700, 700), 255)
        file = encode(image.convert("RGBA").convert("P") if mode == "PA" else image.convert(mode), kind)
        kept = await upload_and_download(desk.admin, file)
        assert kept.size == (512, 512)
        if mode != "I;16":
            assert has_colour(kept, (256, 256), (255, 255, 255))

    async def test_transparency_is_kept(self, desk: Desk) -> None:
        image = Image.new("RGBA", (600, 600), (255, 0, 0, 0))
        image.paste((0, 255, 0, 255), (300, 0, 600, 600))
        kept = await upload_and_download(desk.admin, encode(image))
        assert kept.mode == "RGBA"
        left: Any = kept.getpixel((10, 10))
        right: Any = kept.getpixel((500, 10))
        assert (left[3], right[3]) == (0, 255)

    async def test_only_the_first_frame_of_an_animation_is_kept(self, desk: Desk) -> None:
        frames = [Image.new("RGB", (50, 50), colour) for colour in (GREEN, RED, BLUE)]
        for kind in ("GIF", "WEBP", "PNG", "MPO"):
            kept = await upload_and_download(
                desk.admin, encode(frames[0], kind, save_all=True, append_images=frames[1:])
            )
            assert has_colour(kept, (25, 25), GREEN)
            assert getattr(kept, "n_frames", 1) == 1

    @pytest.mark.parametrize(
        ("orientation", "size", "red_at"),
        [
            (1, (512, 384), (50, 192)),
            (2, (512, 384), (460, 192)),
            (3, (512, 384), (460, 192)),
            (4, (512, 384), (50, 192)),
            (5, (384, 512), (192, 50)),
            (6, (384, 512), (192, 50)),
            (7, (384, 512), (192, 460)),
            (8, (384, 512), (192, 460)),
            (9, (512, 384), (50, 192)),
        ],
    )
    async def test_pictures_are_rotated_by_their_exif_orientation(
        self, desk: Desk, orientation: int, size: tuple[int, int], red_at: tuple[int, int]
    ) -> None:
        kept = await upload_and_download(desk.admin, photograph(orientation))
        assert kept.size == size
        assert has_colour(kept, red_at, RED)
        assert has_colour(kept, (size[0] - red_at[0], size[1] - red_at[1]), BLUE)

    async def test_metadata_of_a_photograph_is_removed(self, desk: Desk) -> None:
        file = photograph(6)
        assert b"Spycam" in file
        ok(await upload_picture(desk.admin, file + b"Spycam trailer"))

        webp = (await get_picture(desk.admin)).content
        assert b"Spycam" not in webp
        assert not {b"EXIF", b"XMP ", b"ICCP"} & set(chunk_names(webp))
        assert dict(decode(webp).getexif()) == {}

    async def test_a_webp_is_encoded_again_without_metadata(self, desk: Desk) -> None:
        webp_file = encode(Image.new("RGB", (50, 50), "red"), "WEBP", exif=b"Exif\0\0Spycam", xmp=b"Spycam")
        ok(await upload_picture(desk.admin, webp_file))
        webp = (await get_picture(desk.admin)).content
        assert b"Spycam" in webp_file
        assert b"Spycam" not in webp

    async def test_broken_exif_data_is_ignored(self, desk: Desk) -> None:
        kept = await upload_and_download(
            desk.admin, encode(Image.new("RGB", (50, 50), "red"), "JPEG", exif=b"Exif\0\0nonsense")
        )
        assert has_colour(kept, (25, 25), RED)


class TestRejection:
    @pytest.mark.parametrize(
        "file",
        [
            b"",
            b"\0" * 1000,
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
            b"<!doctype html><script>alert(1)</script>",
            b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
            b"GIF89a<script>alert(1)</script>",
            b"RIFF\x20\0\0\0WEBPVP8 nonsense",
            SMALL[:-30],
            SMALL[:40],
            encode(noise(100), "JPEG")[:2000],
            encode(noise(100), "WEBP")[:-500],
            encode(noise(100), "GIF")[:-500],
            encode(Image.new("RGB", (8, 8)), "BMP"),
            encode(Image.new("RGB", (8, 8)), "TIFF"),
            encode(Image.new("RGB", (16, 16)), "ICO"),
            encode(Image.new("RGB", (8, 8)), "PDF"),
            png_bomb(0, 0),
        ],
        ids=[
            "empty", "zeros", "svg", "html", "html as png", "html as gif", "nonsense as webp", "half a png",
            "a png's head", "half a jpeg", "half a webp", "half a gif", "bmp", "tiff", "ico", "pdf", "no pixels",
        ],
    )  # fmt: skip
    async def test_a_file_that_is_not_an_image_is_rejected(self, desk: Desk, file: bytes) -> None:
        assert read_invalid_fields(await upload_picture(desk.admin, file), "not_an_image") == {"file"}
        assert_problem(await get_picture(desk.admin), 404, "picture_not_found")

    @pytest.mark.parametrize(
        "bomb",
        [
            png_bomb(50_000, 50_000),
            png_bomb(2**31 - 1, 2**31 - 1),
            png_bomb(8001, 5000),
            png_bomb(10_000, 7000),
            webp_bomb(16_383, 16_383),
            gif_bomb(65_535, 65_535),
            jpeg_bomb(65_500, 65_500),
        ],
        ids=["png", "huge png", "a bit too large", "70 million pixels", "webp", "gif", "jpeg"],
    )
    async def test_an_image_with_too_many_pixels_is_rejected_undecoded(self, desk: Desk, bomb: bytes) -> None:
        assert len(bomb) < 2000
        assert read_invalid_fields(await upload_picture(desk.admin, bomb), "image_too_large") == {"file"}

    async def test_forty_million_pixels_are_accepted(self, desk: Desk) -> None:
        assert (await upload_and_download(desk.admin, encode(Image.new("L", (8000, 5000))))).size == (512, 320)

    async def test_a_file_over_five_megabytes_is_rejected(self, desk: Desk) -> None:
        for file in (b"x" * 6_000_000, b"x" * (MAX_FILE_BYTES + 1)):
            assert_problem(await upload_picture(desk.admin, file), 413, "body_too_large")
        assert read_invalid_fields(await upload_picture(desk.admin, b"x" * MAX_FILE_BYTES), "not_an_image") == {"file"}

    async def test_a_chunked_upload_over_five_megabytes_is_rejected(self, desk: Desk) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            for _ in range(100):
                yield b"x" * 65_536

        headers = desk.admin.headers | {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await desk.admin.http.put("/me/picture", content=parts(), headers=headers)
        assert_problem(answer, 413, "body_too_large")

    async def test_a_file_just_under_five_megabytes_is_accepted(self, desk: Desk) -> None:
        file = encode(noise(1200), compress_level=0)
        assert 4_000_000 < len(file) < MAX_FILE_BYTES
        assert (await upload_and_download(desk.admin, file)).size == (512, 512)

    async def test_other_operations_keep_the_general_body_limit(self, desk: Desk) -> None:
        http, headers, large = desk.admin.http, desk.admin.headers, b"x" * 1_100_000
        for method, path in (("PATCH", "/me"), ("POST", "/me/picture"), ("PUT", "/me/picture/"), ("PUT", "/me")):
            assert_problem(await http.request(method, path, content=large, headers=headers), 413, "body_too_large")

    async def test_a_body_other_than_a_form_with_one_file_is_rejected(self, desk: Desk) -> None:
        async def put(**body: Any) -> set[str]:
            headers = desk.admin.headers | body.pop("headers", {})
            return read_invalid_fields(await desk.admin.http.put("/me/picture", headers=headers, **body))

        file = ("me.png", SMALL, "image/png")
        assert await put(files={"picture": file}) == {"picture"}
        assert await put(files=[("file", file), ("file", file)]) == {"file"}
        assert await put(files={"file": file}, data={"role": "ADMIN", "orgId": "x"}) == {"role", "orgId"}
        assert await put(files=[("file", (None, "text"))]) == {"file"}
        assert await put(files=[("file", file)] * 11) == {""}
        others: tuple[dict[str, Any], ...] = ({"json": {"file": "x"}}, {"data": {"file": "x"}})
        for other in others:
            answer = await desk.admin.http.put("/me/picture", headers=desk.admin.headers, **other)
            assert_problem(answer, 415, "unsupported_media_type")
        assert await put() == {""}
        answer = await desk.admin.http.put(
            "/me/picture", content=SMALL, headers=desk.admin.headers | {"Content-Type": "image/png"}
        )
        assert_problem(answer, 415, "unsupported_media_type")
        form = "multipart/form-data"
        assert await put(content=SMALL, headers={"Content-Type": form}) == {""}
        assert await put(content=b"nonsense", headers={"Content-Type": f"{form}; boundary=b"}) == {""}
        assert await put(content=b"", headers={"Content-Type": f"{form}; boundary=b"}) <= {"", "file"}
        named = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\nx\r\n--b--\r\n'
        # The client chooses the charset of names. The first always fails, the second yields a lone surrogate, and
        # the third does not exist.
        for name, charset, wrong in ((b"a", "undefined", ""), (b"\\ud800", "unicode_escape", "?"), (b"a", "none", "a")):
            kind = {"Content-Type": f"{form}; boundary=b; charset={charset}"}
            assert await put(content=named % name, headers=kind) == {wrong}
        nameless = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
        assert await put(content=nameless, headers={"Content-Type": f"{form}; boundary=b"}) == {""}
        assert_problem(await get_picture(desk.admin), 404, "picture_not_found")

    async def test_a_rejected_upload_keeps_the_previous_picture(self, desk: Desk) -> None:
        ok(await upload_picture(desk.admin, SMALL))
        before = await get_picture(desk.admin)
        await upload_picture(desk.admin, b"nonsense")
        after = await get_picture(desk.admin)
        assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])

    async def test_only_signed_in_users_can_use_pictures(self, api: Api, desk: Desk) -> None:
        for headers, status, code in (
            ({}, 401, "missing_credential"),
            ({"X-Org-Secret": desk.secret}, 403, "access_token_required"),
        ):
            files = {"file": ("me.png", SMALL, "image/png")}
            assert_problem(await api.http.put("/me/picture", files=files, headers=headers), status, code)
            assert_problem(await api.http.delete("/me/picture", headers=headers), status, code)
            assert_problem(await api.http.get(f"/users/{desk.admin.id}/picture", headers=headers), status, code)

"""Users's pictures: what is taken, what is kept of it, and who sees it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

from app.access.permissions import RoleKind
from app.accounts.pictures import image as images
from app.accounts.pictures.models import Picture
from app.accounts.pictures.upload import MAX_FILE_BYTES
from app.core.database.pool import Database
from app.main import create_api
from tests.accounts.crew import CUSTOMER, ENGINEER, events_about, hire, ok, sign_in
from tests.accounts.images import (
    a_gif_bomb,
    a_jpeg_bomb,
    a_photograph,
    a_png_bomb,
    a_webp_bomb,
    chunks_of,
    decoded,
    encoded,
    noise,
)
from tests.conftest import settings_for
from tests.desks import Api, Desk, SignedInUser, a_desk
from tests.postgres import TestServer
from tests.problems import refused, wrong_fields

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SMALL = encoded(Image.new("RGB", (8, 8), "red"))


async def send(user: SignedInUser, file: bytes, name: str = "me.png", kind: str = "image/png") -> httpx.Response:
    return await user.http.put("/me/picture", files={"file": (name, file, kind)}, headers=user.headers)


async def picture_of(user: SignedInUser, seen_by: SignedInUser | None = None) -> httpx.Response:
    return await (seen_by or user).get(f"/users/{user.id}/picture")


async def kept_of(user: SignedInUser, file: bytes) -> Image.Image:
    """What becomes of a file."""
    ok(await send(user, file))
    answer = await picture_of(user)
    assert answer.status_code == 200
    return decoded(answer.content)


def is_like(image: Image.Image, at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    """Whether a pixel has this colour, but for what a compression loses."""
    pixel: Any = image.convert("RGB").getpixel(at)
    return all(abs(one - wanted) < 40 for one, wanted in zip(pixel, colour, strict=True))


class TestWhatIsKept:
    async def test_it_is_a_webp_that_the_profile_leads_to(self, desk: Desk) -> None:
        answer = await send(desk.admin, SMALL)
        said = ok(answer)
        assert said.keys() == {"pictureUrl", "updatedAt"}
        assert said["updatedAt"].endswith("Z")
        assert ok(await desk.admin.get("/me"))["pictureUrl"] == said["pictureUrl"]

        picture = await desk.admin.get(said["pictureUrl"])
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
        assert picture.headers["x-content-type-options"] == "nosniff"
        assert decoded(picture.content).format == "WEBP"

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
    async def test_it_has_at_most_512_pixels_a_side_and_is_never_enlarged(
        self, desk: Desk, size: tuple[int, int], kept: tuple[int, int]
    ) -> None:
        assert (await kept_of(desk.admin, encoded(Image.new("RGB", size)))).size == kept

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
    async def test_what_a_file_is_is_told_by_its_content(self, desk: Desk, kind: str) -> None:
        file = encoded(Image.new("RGB", (600, 300), "red"), kind)
        ok(await send(desk.admin, file, "me.exe", "text/html"))
        kept = decoded((await picture_of(desk.admin)).content)
        assert kept.size == (512, 256)
        assert is_like(kept, (256, 128), RED)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
    async def test_of_whatever_kind_its_pixels_are(self, desk: Desk, mode: str) -> None:
        kind = {"CMYK": "JPEG", "PA": "GIF"}.get(mode, "PNG")
        image = Image.new("L", (700, 700), 255)
        file = encoded(image.convert("RGBA").convert("P") if mode == "PA" else image.convert(mode), kind)
        kept = await kept_of(desk.admin, file)
        assert kept.size == (512, 512)
        if mode != "I;16":
            assert is_like(kept, (256, 256), (255, 255, 255))

    async def test_what_is_transparent_stays_so(self, desk: Desk) -> None:
        image = Image.new("RGBA", (600, 600), (255, 0, 0, 0))
        image.paste((0, 255, 0, 255), (300, 0, 600, 600))
        kept = await kept_of(desk.admin, encoded(image))
        assert kept.mode == "RGBA"
        left: Any = kept.getpixel((10, 10))
        right: Any = kept.getpixel((500, 10))
        assert (left[3], right[3]) == (0, 255)

    async def test_of_an_animation_it_is_the_first_frame(self, desk: Desk) -> None:
        frames = [Image.new("RGB", (50, 50), colour) for colour in (GREEN, RED, BLUE)]
        for kind in ("GIF", "WEBP", "PNG", "MPO"):
            kept = await kept_of(desk.admin, encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
            assert is_like(kept, (25, 25), GREEN)
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
    async def test_it_stands_upright_however_the_camera_was_held(
        self, desk: Desk, orientation: int, size: tuple[int, int], red_at: tuple[int, int]
    ) -> None:
        kept = await kept_of(desk.admin, a_photograph(orientation))
        assert kept.size == size
        assert is_like(kept, red_at, RED)
        assert is_like(kept, (size[0] - red_at[0], size[1] - red_at[1]), BLUE)

    async def test_nothing_else_is_kept_of_a_photograph(self, desk: Desk) -> None:
        file = a_photograph(6)
        assert b"Spycam" in file
        ok(await send(desk.admin, file + b"Spycam trailer"))

        webp = (await picture_of(desk.admin)).content
        assert b"Spycam" not in webp
        assert not {b"EXIF", b"XMP ", b"ICCP"} & set(chunks_of(webp))
        assert dict(decoded(webp).getexif()) == {}

    async def test_nor_is_its_file_as_it_came(self, desk: Desk) -> None:
        already = encoded(Image.new("RGB", (50, 50), "red"), "WEBP", exif=b"Exif\0\0Spycam", xmp=b"Spycam")
        ok(await send(desk.admin, already))
        webp = (await picture_of(desk.admin)).content
        assert b"Spycam" in already
        assert b"Spycam" not in webp

    async def test_a_broken_note_of_the_camera_does_no_harm(self, desk: Desk) -> None:
        kept = await kept_of(desk.admin, encoded(Image.new("RGB", (50, 50), "red"), "JPEG", exif=b"Exif\0\0nonsense"))
        assert is_like(kept, (25, 25), RED)


class TestWhatIsRefused:
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
            encoded(noise(100), "JPEG")[:2000],
            encoded(noise(100), "WEBP")[:-500],
            encoded(noise(100), "GIF")[:-500],
            encoded(Image.new("RGB", (8, 8)), "BMP"),
            encoded(Image.new("RGB", (8, 8)), "TIFF"),
            encoded(Image.new("RGB", (16, 16)), "ICO"),
            encoded(Image.new("RGB", (8, 8)), "PDF"),
            a_png_bomb(0, 0),
        ],
        ids=[
            "empty", "zeros", "svg", "html", "html as png", "html as gif", "nonsense as webp", "half a png",
            "a png's head", "half a jpeg", "half a webp", "half a gif", "bmp", "tiff", "ico", "pdf", "no pixels",
        ],
    )  # fmt: skip
    async def test_what_is_no_image(self, desk: Desk, file: bytes) -> None:
        assert wrong_fields(await send(desk.admin, file), "not_an_image") == {"file"}
        refused(await picture_of(desk.admin), 404, "picture_not_found")

    @pytest.mark.parametrize(
        "bomb",
        [
            a_png_bomb(50_000, 50_000),
            a_png_bomb(2**31 - 1, 2**31 - 1),
            a_png_bomb(8001, 5000),
            a_png_bomb(10_000, 7000),
            a_webp_bomb(16_383, 16_383),
            a_gif_bomb(65_535, 65_535),
            a_jpeg_bomb(65_500, 65_500),
        ],
        ids=["png", "huge png", "a bit too large", "twice too large", "webp", "gif", "jpeg"],
    )
    async def test_what_has_too_many_pixels_is_not_even_decoded(self, desk: Desk, bomb: bytes) -> None:
        assert len(bomb) < 2000
        assert wrong_fields(await send(desk.admin, bomb), "image_too_large") == {"file"}

    async def test_forty_million_are_not_too_many(self, desk: Desk) -> None:
        assert (await kept_of(desk.admin, encoded(Image.new("L", (8000, 5000))))).size == (512, 320)

    async def test_more_than_five_megabytes(self, desk: Desk) -> None:
        for file in (b"x" * 6_000_000, b"x" * (MAX_FILE_BYTES + 1)):
            assert refused(await send(desk.admin, file), 413, "body_too_large")
        assert wrong_fields(await send(desk.admin, b"x" * MAX_FILE_BYTES), "not_an_image") == {"file"}

    async def test_more_than_five_megabytes_in_parts(self, desk: Desk) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            for _ in range(100):
                yield b"x" * 65_536

        headers = desk.admin.headers | {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await desk.admin.http.put("/me/picture", content=parts(), headers=headers)
        refused(answer, 413, "body_too_large")

    async def test_but_nearly_five_are_fine(self, desk: Desk) -> None:
        file = encoded(noise(1200), compress_level=0)
        assert 4_000_000 < len(file) < MAX_FILE_BYTES
        assert (await kept_of(desk.admin, file)).size == (512, 512)

    async def test_elsewhere_a_body_has_one_as_before(self, desk: Desk) -> None:
        http, headers, large = desk.admin.http, desk.admin.headers, b"x" * 1_100_000
        for method, path in (("PATCH", "/me"), ("POST", "/me/picture"), ("PUT", "/me/picture/"), ("PUT", "/me")):
            refused(await http.request(method, path, content=large, headers=headers), 413, "body_too_large")

    async def test_what_is_no_form_with_one_file(self, desk: Desk) -> None:
        async def put(**body: Any) -> set[str]:
            headers = desk.admin.headers | body.pop("headers", {})
            return wrong_fields(await desk.admin.http.put("/me/picture", headers=headers, **body))

        file = ("me.png", SMALL, "image/png")
        assert await put(files={"picture": file}) == {"picture"}
        assert await put(files=[("file", file), ("file", file)]) == {"file"}
        assert await put(files={"file": file}, data={"role": "ADMIN", "orgId": "x"}) == {"role", "orgId"}
        assert await put(files=[("file", (None, "text"))]) == {"file"}
        assert await put(files=[("file", file)] * 11) == {""}
        assert await put(json={"file": "x"}) == {""}
        assert await put(data={"file": "x"}) == {""}
        assert await put() == {""}
        assert await put(content=SMALL, headers={"Content-Type": "image/png"}) == {""}
        form = "multipart/form-data"
        assert await put(content=SMALL, headers={"Content-Type": form}) == {""}
        assert await put(content=b"nonsense", headers={"Content-Type": f"{form}; boundary=b"}) == {""}
        assert await put(content=b"", headers={"Content-Type": f"{form}; boundary=b"}) <= {"", "file"}
        named = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\nx\r\n--b--\r\n'
        for name, charset, wrong in ((b"a", "undefined", ""), (b"\\ud800", "unicode_escape", "?"), (b"a", "none", "a")):
            kind = {"Content-Type": f"{form}; boundary=b; charset={charset}"}
            assert await put(content=named % name, headers=kind) == {wrong}
        nameless = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
        assert await put(content=nameless, headers={"Content-Type": f"{form}; boundary=b"}) == {""}
        refused(await picture_of(desk.admin), 404, "picture_not_found")

    async def test_a_refused_one_leaves_the_one_before(self, desk: Desk) -> None:
        ok(await send(desk.admin, SMALL))
        before = await picture_of(desk.admin)
        await send(desk.admin, b"nonsense")
        after = await picture_of(desk.admin)
        assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])

    async def test_somebody_who_is_not_signed_in(self, api: Api, desk: Desk) -> None:
        for headers, status, code in (
            ({}, 401, "missing_credential"),
            ({"X-Org-Secret": desk.secret}, 403, "user_required"),
        ):
            files = {"file": ("me.png", SMALL, "image/png")}
            refused(await api.http.put("/me/picture", files=files, headers=headers), status, code)
            refused(await api.http.delete("/me/picture", headers=headers), status, code)
            refused(await api.http.get(f"/users/{desk.admin.id}/picture", headers=headers), status, code)


async def test_only_so_many_wait_to_be_decoded() -> None:
    opened = threading.Event()
    blocked = images._threads.submit(opened.wait)
    waiting = [asyncio.create_task(images.normalised(BytesIO(SMALL))) for _ in range(17)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(images.TooManyPictures):
            await images.normalised(BytesIO(SMALL))
    finally:
        opened.set()
    assert blocked.result()
    assert len(set(await asyncio.gather(*waiting))) == 1
    assert await images.normalised(BytesIO(SMALL))


class TestSeeing:
    @pytest.mark.parametrize("role", [ENGINEER, CUSTOMER])
    async def test_everybody_of_the_organisation_sees_it(self, desk: Desk, role: RoleKind) -> None:
        ok(await send(desk.admin, SMALL))
        colleague = await sign_in(desk, role)
        assert (await picture_of(desk.admin, colleague)).content == (await picture_of(desk.admin)).content
        ok(await send(colleague, encoded(Image.new("RGB", (9, 9), "blue"))))
        assert decoded((await picture_of(colleague, desk.admin)).content).size == (9, 9)
        assert decoded((await picture_of(desk.admin)).content).size == (8, 8)

    async def test_but_customers_do_not_see_each_other(self, desk: Desk) -> None:
        one, other = await sign_in(desk, CUSTOMER), await sign_in(desk, CUSTOMER)
        ok(await send(one, SMALL))
        assert (await picture_of(one)).status_code == 200
        refused(await picture_of(one, other), 404, "user_not_found")
        refused(await picture_of(other, one), 404, "user_not_found")
        assert (await picture_of(one, await sign_in(desk, ENGINEER))).status_code == 200

    async def test_nobody_else_does(self, api: Api, desk: Desk, database: Database) -> None:
        ok(await send(desk.admin, SMALL))
        stranger = (await a_desk(api, database)).admin
        nobody = await desk.admin.get("/users/0190b8e5-0000-7000-8000-000000000001/picture")
        theirs = refused(await picture_of(desk.admin, stranger), 404, "user_not_found")
        assert theirs | {"requestId": 0} == refused(nobody, 404, "user_not_found") | {"requestId": 0}
        assert (await stranger.delete("/me/picture")).status_code == 204
        assert (await picture_of(desk.admin)).status_code == 200

    async def test_of_who_has_none_or_is_gone_there_is_none(self, desk: Desk) -> None:
        refused(await picture_of(desk.admin), 404, "picture_not_found")
        erased = await hire(desk, status="ERASED")
        refused(await desk.admin.get(f"/users/{erased.id}/picture"), 404, "user_not_found")
        assert wrong_fields(await desk.admin.get("/users/me/picture")) == {"id"}

    async def test_who_has_it_already_need_not_fetch_it_again(self, desk: Desk) -> None:
        ok(await send(desk.admin, SMALL))
        first = await picture_of(desk.admin)
        assert first.headers["cache-control"] == "private, max-age=60"
        assert first.headers["vary"] == "Authorization"
        tag, path = first.headers["etag"], f"/users/{desk.admin.id}/picture"
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = await desk.admin.http.get(path, headers=desk.admin.headers | {"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "private, max-age=60")
        for known in ('"other"', "nonsense", ""):
            again = await desk.admin.http.get(path, headers=desk.admin.headers | {"If-None-Match": known})
            assert again.content == first.content

        ok(await send(desk.admin, encoded(Image.new("RGB", (9, 9)))))
        other = await desk.admin.http.get(path, headers=desk.admin.headers | {"If-None-Match": tag})
        assert other.status_code == 200
        assert other.headers["etag"] != tag

    async def test_refusals_are_not_kept(self, desk: Desk) -> None:
        assert (await picture_of(desk.admin)).headers["cache-control"] == "no-store"


class TestRemoving:
    async def test_it_is_gone_and_may_be_gone_already(self, desk: Desk) -> None:
        user = await sign_in(desk)
        ok(await send(user, SMALL))
        for _ in range(2):
            answer = await user.delete("/me/picture")
            assert (answer.status_code, answer.content) == (204, b"")
        refused(await picture_of(user), 404, "picture_not_found")
        assert ok(await user.get("/me"))["pictureUrl"] is None
        changed = ("user.updated", {"fields": ["picture"]})
        assert await events_about(desk, user.id) == [changed, changed]
        async with desk.database.session(desk.id) as db:
            assert (await db.scalars(select(Picture).where(Picture.org_id == desk.id))).all() == []

    async def test_of_several_that_are_set_at_once_one_stays(self, desk: Desk) -> None:
        user = await sign_in(desk)
        files = [encoded(Image.new("RGB", (side, side))) for side in range(1, 6)]
        answers = await asyncio.gather(*(send(user, file) for file in files))
        assert [answer.status_code for answer in answers] == [200] * 5
        async with desk.database.session(desk.id) as db:
            (row,) = (await db.scalars(select(Picture).where(Picture.org_id == desk.id))).all()
        assert (await picture_of(user)).content == row.image


def test_the_document_says_how_to_send_one_and_what_comes_back(server: TestServer) -> None:
    paths = create_api(settings_for(server)).openapi()["paths"]
    (sent,) = paths["/me/picture"]["put"]["requestBody"]["content"].items()
    assert sent[0] == "multipart/form-data"
    assert sent[1]["schema"]["properties"]["file"] | {"description": ""} == {
        "type": "string", "format": "binary", "description": "",
    }  # fmt: skip
    got = paths["/users/{id}/picture"]["get"]["responses"]
    assert list(got["200"]["content"]) == ["image/webp"]
    assert {"304", "404"} <= got.keys()

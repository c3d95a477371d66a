"""Pictures that would take long to decode, and the limit of uploads."""

from __future__ import annotations

import asyncio
import threading
import time
from io import BytesIO

import pytest
from PIL import Image

from app.accounts.pictures import image as images
from app.accounts.pictures.errors import TooManyPictures
from app.accounts.pictures.image import MAX_SCANS
from tests.accounts.images import encode, jpeg_with_scans, noise
from tests.accounts.pictures.uploads import SMALL, upload_picture
from tests.accounts.users_and_roles import add_signed_in_user, ok
from tests.organisation_client import Desk
from tests.problems import assert_problem, read_invalid_fields


@pytest.mark.parametrize(
    "file",
    [
        jpeg_with_scans(8000, 5000, 5000),
        jpeg_with_scans(8000, 5000, 26),
        jpeg_with_scans(8, 8, MAX_SCANS + 1),
    ],
    ids=["five thousand", "too many for the size", "one too many"],
)
async def test_a_jpeg_with_too_many_scans_is_rejected_quickly(desk: Desk, file: bytes) -> None:
    began = time.perf_counter()
    assert read_invalid_fields(await upload_picture(desk.admin, file), "not_an_image") == {"file"}
    assert time.perf_counter() - began < 1


async def test_a_usual_number_of_scans_is_accepted(desk: Desk) -> None:
    for file in (jpeg_with_scans(8, 8, MAX_SCANS), encode(noise(1000), "JPEG", progressive=True)):
        ok(await upload_picture(desk.admin, file))


async def test_scan_headers_outside_of_scans_are_ignored(desk: Desk) -> None:
    scan = b"\xff\xda\x00\x08\x01"
    ok(await upload_picture(desk.admin, SMALL + scan * 1000))  # not a JPEG
    ok(await upload_picture(desk.admin, encode(Image.new("RGB", (8, 8)), "JPEG", comment=b"\xff\xda no scan" * 1000)))


async def test_uploads_are_limited_to_twenty_an_hour(desk: Desk) -> None:
    other = await add_signed_in_user(desk)
    for file in (SMALL, b"nonsense") * 10:
        assert (await upload_picture(desk.admin, file)).status_code in {200, 422}
    assert_problem(await upload_picture(desk.admin, SMALL), 429, "rate_limited")
    ok(await upload_picture(other, SMALL))
    assert (await desk.admin.delete("/me/picture")).status_code == 204


async def test_the_number_of_waiting_pictures_is_limited() -> None:
    opened = threading.Event()
    blocked = asyncio.create_task(images._threads.run(opened.wait))
    waiting = [asyncio.create_task(images.normalise_image(BytesIO(SMALL))) for _ in range(16)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(TooManyPictures):
            await images.normalise_image(BytesIO(SMALL))
    finally:
        opened.set()
    assert await blocked
    assert len(set(await asyncio.gather(*waiting))) == 1
    assert await images.normalise_image(BytesIO(SMALL))

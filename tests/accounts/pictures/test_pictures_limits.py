"""Pictures that would take long to decode, and how many somebody may try."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from app.accounts.pictures.image import MAX_SCANS
from tests.accounts.crew import ok, sign_in
from tests.accounts.images import a_jpeg_of_scans, encoded, noise
from tests.accounts.pictures.test_pictures import SMALL, send
from tests.desks import Desk
from tests.problems import refused, wrong_fields


@pytest.mark.parametrize(
    "file",
    [
        a_jpeg_of_scans(8000, 5000, 5000),
        a_jpeg_of_scans(8000, 5000, 26),
        a_jpeg_of_scans(8, 8, MAX_SCANS + 1),
    ],
    ids=["five thousand", "too many for the size", "one too many"],
)
async def test_a_jpeg_that_goes_over_its_pixels_again_and_again(desk: Desk, file: bytes) -> None:
    began = time.perf_counter()
    assert wrong_fields(await send(desk.admin, file), "not_an_image") == {"file"}
    assert time.perf_counter() - began < 1


async def test_several_scans_are_usual(desk: Desk) -> None:
    for file in (a_jpeg_of_scans(8, 8, MAX_SCANS), encoded(noise(1000), "JPEG", progressive=True)):
        ok(await send(desk.admin, file))


async def test_what_looks_like_a_scan_elsewhere_does_no_harm(desk: Desk) -> None:
    scan = b"\xff\xda\x00\x08\x01"
    ok(await send(desk.admin, SMALL + scan * 1000))  # which is no JPEG
    ok(await send(desk.admin, encoded(Image.new("RGB", (8, 8)), "JPEG", comment=b"\xff\xda no scan" * 1000)))


async def test_more_than_twenty_tries_in_an_hour(desk: Desk) -> None:
    other = await sign_in(desk)
    for file in (SMALL, b"nonsense") * 10:
        assert (await send(desk.admin, file)).status_code in {200, 422}
    refused(await send(desk.admin, SMALL), 429, "rate_limited")
    ok(await send(other, SMALL))
    assert (await desk.admin.delete("/me/picture")).status_code == 204

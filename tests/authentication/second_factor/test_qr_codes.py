"""The drawing of QR codes, which is bounded."""

from __future__ import annotations

import asyncio

from app.authentication.second_factor.qr_code import MAX_DRAWING, MAX_WAITING, draw_qr_code
from app.core.threads import Busy


async def test_calls_beyond_the_bounds_are_refused_and_later_ones_are_not() -> None:
    calls = [draw_qr_code("otpauth://totp/Growfin") for _ in range(MAX_DRAWING + MAX_WAITING + 2)]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [isinstance(result, Busy) for result in results] == [False] * (MAX_DRAWING + MAX_WAITING) + [True] * 2
    assert (await draw_qr_code("otpauth://totp/Growfin")).startswith("<svg")

"""Draw QR codes that authenticators scan."""

from __future__ import annotations

import io
from functools import partial

import segno

from app.core.threads import BoundedThreads

MAX_DRAWING = 1  # each takes several milliseconds of CPU time
MAX_WAITING = 64
_threads = BoundedThreads(MAX_DRAWING, MAX_WAITING)


async def draw_qr_code(text: str) -> str:
    """Draw a QR code as an SVG image, in a thread.

    Raises:
        Busy: `MAX_WAITING` calls are waiting already.
    """
    return await _threads.run(partial(_draw, text))


def _draw(text: str) -> str:
    code = segno.make(text, error="m", micro=False)
    # With a namespace, so that it works in an `img` element as well as within a page.
    svg = io.BytesIO()
    code.save(svg, kind="svg", xmldecl=False, nl=False, scale=4, dark="#000", light="#fff")
    return svg.getvalue().decode()

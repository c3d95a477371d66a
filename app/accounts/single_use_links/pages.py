"""The page that links in mails lead to if the organisation has no front end of its own.

All links share one document, which loads nothing. Its script takes the token from the fragment of the address and sends
it when the reader presses the button. So the token is in no page request, and in no log of a server or a proxy.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from app.accounts.single_use_links.models import PAGES

PATHS = tuple(PAGES.values())

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def _digest(element: str) -> str:
    """Return the source expression that allows the only inline element of this name (CSP level 3, 2.3.1)."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_digest('script')}; style-src {_digest('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

router = APIRouter()


async def page() -> HTMLResponse:
    """Return the page, which is the same for all links."""
    return HTMLResponse(PAGE, headers=HEADERS)


for path in PATHS:
    router.add_api_route(path, page, include_in_schema=False)

"""The page that links in mails lead to where an organisation has no front end of its own.

One document for all of them, which loads nothing. Its script takes the token out of the address and sends it once its
reader presses the button: it is in no request for a page, and so in no log of a server or a proxy.
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
    """The one inline element of this name, as a Content-Security-Policy allows it (CSP level 3, 2.3.1)."""
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
    """The page, for whichever link: it looks at its own address."""
    return HTMLResponse(PAGE, headers=HEADERS)


for path in PATHS:
    router.add_api_route(path, page, include_in_schema=False)

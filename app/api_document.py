"""The OpenAPI document as a whole: title, introduction, licence, tags and their order."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import __version__
from app.access.operation_requirements import SECRET_SCHEME, TOKEN_SCHEME
from app.core.config import Settings
from app.core.web.error_catalogue import make_error_table
from app.core.web.openapi_document import finalize_openapi

TITLE = "Tessera"
LICENCE = {"name": "MIT", "identifier": "MIT"}
CONTACT = {"name": "Tessera contributors"}

# In the order in which new users need them. The operations of the document have the same order.
TAGS = [
    {"name": "Tickets", "description": "Open, find, reply to and change tickets. Read their history and schedule."},
    {"name": "Organisations", "description": "Sign up an organisation. Change its settings and a sandbox's clock."},
    {"name": "Requesters", "description": "Find, change, merge and erase the people that tickets are opened for."},
    {"name": "Signing in", "description": "Sign up, sign in, sessions, passwords, e-mail addresses, second factor."},
    {"name": "Profile", "description": "Read and change the signed-in user. Read their menu."},
    {"name": "Users", "description": "Approve, invite, change and erase the users of the organisation."},
    {"name": "Roles", "description": "Define what users may do."},
    {"name": "Menus", "description": "Define the navigation of your own front end, and which users see each entry."},
    {
        "name": "Notifications",
        "description": "Read which mails were sent, to which addresses, and whether the mail server accepted them.",
    },
    {"name": "Operations", "description": "Health, metrics, and the jobs of the worker."},
]

SECURITY_SCHEMES = {
    SECRET_SCHEME: {
        "type": "apiKey",
        "in": "header",
        "name": "X-Org-Secret",
        "description": "The secret key of an organisation (`tsk_…`), for its products.",
    },
    TOKEN_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of a user, from `POST /auth/signin`.",
    },
}


def build_openapi(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """Make the OpenAPI document of the application on the first call, and return the same one afterwards."""
    if not app.openapi_schema:
        document = get_openapi(
            title=TITLE,
            version=__version__,
            description=read_introduction(),
            license_info=LICENCE,
            contact=CONTACT,
            servers=[{"url": settings.public_url or "/"}],
            tags=TAGS,
            routes=app.routes,
        )
        app.openapi_schema = finalize_openapi(document, app.routes, SECURITY_SCHEMES)
    return app.openapi_schema


def read_introduction() -> str:
    """Read the introduction to the API (Markdown), with the table of all error codes filled in."""
    text = files("app").joinpath("api_introduction.md").read_text(encoding="utf-8")
    return text.replace("{error_codes}", make_error_table())

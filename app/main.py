"""The web application: routers, error handlers, and what lives as long as the process."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import __version__, wiring
from app import models as _models  # noqa: F401 - all mappers, before the first query
from app.access.attempts import Attempts
from app.access.credential_cache import CredentialCache
from app.accounts.invitations.routes import router as invitations
from app.accounts.pictures.routes import router as pictures
from app.accounts.pictures.upload import MAX_UPLOAD_BYTES
from app.accounts.profiles.routes import router as profile
from app.accounts.roles.routes import router as roles
from app.accounts.sign_up.routes import router as sign_up
from app.accounts.single_use_links.pages import router as pages
from app.accounts.users.routes import router as users
from app.authentication.passwords.routes import router as recovery
from app.authentication.second_factor.routes import router as second_factor
from app.authentication.sessions.routes import router as sessions
from app.authentication.sign_in.routes import router as signing_in
from app.authentication.social.provider import Providers
from app.authentication.social.routes import router as social
from app.core import telemetry
from app.core.config import Settings, load_settings
from app.core.database.migrations import head_revision
from app.core.security import passwords as security
from app.core.web.edge import Edge
from app.core.web.fast_routes import ShortCut
from app.core.web.limits import Limiter
from app.core.web.openapi import DESCRIPTION, TAGS, complete
from app.core.web.problems import install_error_handlers
from app.menus.my_menu_routes import router as my_menu
from app.menus.routes import router as menus
from app.notifications.routes import router as notifications
from app.operations.gauges import Gauges
from app.operations.routes import router as operations
from app.organisations.routes import router as organisations
from app.tickets.routes import hot as hot_tickets
from app.tickets.routes import router as tickets
from app.worker import Worker

# In the order in which a path is looked for: a ticket's first.
ROUTERS = (
    hot_tickets, tickets, organisations, signing_in, sessions, recovery, second_factor, social, users, profile,
    pictures, sign_up, invitations, roles, menus, my_menu, notifications, operations, pages,
)  # fmt: skip

# What may send more than other requests.
BODY_LIMITS = {("PUT", "/me/picture"): MAX_UPLOAD_BYTES}

log = structlog.get_logger("tessera")


def create_app(settings: Settings) -> ASGIApp:
    """The whole web service.

    Args:
        settings: with a `database_url` and a `secret_key`.
    """
    served: ASGIApp = ShortCut(create_api(settings), hot_tickets.routes)
    if settings.cors_origins:
        served = CORSMiddleware(
            served,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "If-Match",
                "If-None-Match",
                "X-Org-Secret",
                "X-Request-Id",
            ],
            expose_headers=[
                "ETag",
                "Link",
                "Location",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                "WWW-Authenticate",
                "X-Request-Id",
            ],
            max_age=600,
        )
    outermost: ASGIApp = Edge(served, settings, body_limits=BODY_LIMITS)
    if settings.trusted_proxies:
        # Only these may say whose request it is; without any, nobody may.
        outermost = ProxyHeadersMiddleware(outermost, trusted_hosts=settings.trusted_proxies)  # type: ignore[arg-type,assignment]
    return outermost


def app_from_environment() -> ASGIApp:
    """The same, in a process that uvicorn starts: the environment has all settings."""
    settings = load_settings()
    telemetry.configure_logging(as_json=settings.log_format == "json", level=settings.log_level)
    return create_app(settings)


def create_api(settings: Settings) -> FastAPI:
    """The part of it that knows routes."""
    app: FastAPI = FastAPIOffline(
        title="Tessera",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=_lifespan,
        redirect_slashes=False,
        swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True},
    )
    app.state.settings = settings
    # `include_router` would wrap each router in one more, which costs a small request a tenth of its time, to inherit
    # what these do not.
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    install_error_handlers(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state, settings = app.state, app.state.settings
    database, probe = wiring.connect(settings), wiring.connect(settings, pool_size=1)
    limiter = Limiter(settings.redis_url)
    state.database = database
    state.probe = probe
    state.secret_key = settings.secret_key
    state.credential_cache = CredentialCache(database, settings.secret_key)
    state.limiter = limiter
    state.attempts = Attempts(limiter, settings)
    state.providers = Providers(settings.oidc_providers)
    state.subscribers = wiring.SUBSCRIBERS
    state.ticket_timers = wiring.TICKET_TIMERS
    state.gauges = Gauges(database)
    state.revision = head_revision()
    security.warm_up()
    worker = Worker(settings, database) if settings.worker == "inline" else None
    if worker:
        worker.start()
    # What lives for ever need not be looked at by every collection.
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        try:
            if worker:
                await worker.stop()
        finally:
            await database.dispose()
            await probe.dispose()


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            tags=app.openapi_tags,
            routes=app.routes,
        )
        app.openapi_schema = complete(schema, app.routes)
    return app.openapi_schema

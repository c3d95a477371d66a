"""The web application: routers, error handlers, and everything that lives as long as the process."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import __version__, api_document, wiring
from app import models as _models  # noqa: F401 - all mappers, before the first query
from app.access.attempt_limits import Attempts
from app.access.credential_cache import CredentialCache
from app.access.credential_changes import CredentialChangeReader
from app.access.startup_checks import check_callers
from app.accounts.domain_proofs.routes import router as domain_proofs
from app.accounts.erasure.routes import router as erasure
from app.accounts.invitations.routes import router as invitations
from app.accounts.pictures.routes import router as pictures
from app.accounts.pictures.upload import MAX_UPLOAD_BYTES
from app.accounts.profiles.routes import router as profile
from app.accounts.roles.routes import router as roles
from app.accounts.sign_up.routes import router as sign_up
from app.accounts.single_use_links.pages import router as pages
from app.accounts.users.routes import router as users
from app.authentication.email_addresses.routes import router as email_addresses
from app.authentication.passwords.routes import router as passwords
from app.authentication.reauthentication.routes import router as reauthentication
from app.authentication.second_factor.reset_routes import router as second_factor_reset
from app.authentication.second_factor.routes import router as second_factor
from app.authentication.sessions.queries import find_principal
from app.authentication.sessions.routes import router as sessions
from app.authentication.sign_in.routes import router as sign_in
from app.authentication.social.provider import Providers
from app.authentication.social.routes import router as social
from app.authentication.social.services import SocialServices
from app.core import telemetry
from app.core.config import Settings, load_settings
from app.core.database.migrations import find_head_revision
from app.core.security import password_hashing, password_strength
from app.core.turns import ProcessTurns
from app.core.web.cors import ORIGINS, Origins
from app.core.web.docs_page import install_docs_page
from app.core.web.edge import Edge
from app.core.web.fast_routes import FastRoutes
from app.core.web.limiter import Limiter
from app.core.web.parent_process import stop_with_parent
from app.core.web.problems import install_error_handlers
from app.core.web.rate_limits import make_announcer
from app.menus.my_menu_routes import router as my_menu
from app.menus.routes import router as menus
from app.notifications.routes import router as notifications
from app.operations.gauges import Gauges
from app.operations.index_routes import router as index
from app.operations.metrics_server import serving_metrics
from app.operations.routes import router as operations
from app.operations.services import OperationsServices
from app.organisations.queries import find_by_secret_hash, is_listed_origin
from app.organisations.routes import router as organisations
from app.organisations.schemas import check_fired_kinds
from app.requesters.routes import router as requesters
from app.tickets.assignment.routes import router as ticket_assignment
from app.tickets.comments.routes import router as ticket_comments
from app.tickets.history.routes import router as ticket_history
from app.tickets.lists.routes import router as ticket_list
from app.tickets.routes import fast_router as fast_tickets
from app.tickets.routes import router as tickets
from app.tickets.schedule.routes import router as ticket_schedule
from app.tickets.search.common_words import CommonWords, SearchServices
from app.worker import Worker

# Paths are matched in this order: tickets first, since they get the most requests.
ROUTERS = (
    fast_tickets, ticket_list, ticket_assignment, ticket_comments, tickets, ticket_history, ticket_schedule,
    organisations, domain_proofs, requesters, sign_in, sessions, reauthentication, passwords, email_addresses,
    second_factor, social, users,
    erasure, second_factor_reset, profile, pictures, sign_up, invitations, roles, menus, my_menu, notifications, index,
    operations, pages,
)  # fmt: skip

# Larger limits than `max_body_bytes`, by method and path.
BODY_LIMITS = {("PUT", "/me/picture"): MAX_UPLOAD_BYTES}
# Served even under overload, since monitoring depends on them.
OPERATIONAL_PATHS = frozenset({"/health/live", "/health/ready", "/metrics"})

log = structlog.get_logger("tessera")


@dataclass(frozen=True, kw_only=True)
class ProcessServices(SocialServices, OperationsServices, SearchServices):
    """Everything that a process keeps for its requests. Routes read their part of it with `get_services`."""


def create_app(settings: Settings) -> ASGIApp:
    """Make the web service: the application with all layers around it.

    Args:
        settings: must have a `database_url` and a `secret_key`.
    """
    api = create_api(settings)

    async def is_listed(origin: str) -> bool:
        services: ProcessServices = api.state.services
        return await is_listed_origin(services.database, origin)

    api.state.origins = origins = Origins(settings.cors_origins, is_listed)
    outermost: ASGIApp = Edge(
        FastRoutes(api),
        settings,
        body_limits=BODY_LIMITS,
        operational_paths=OPERATIONAL_PATHS,
        origins=origins,
        announce_limits=make_announcer(api),
        turns=api.state.turns,
    )
    if settings.trusted_proxies:
        # Only these proxies may report the address of the client.
        outermost = ProxyHeadersMiddleware(outermost, trusted_hosts=settings.trusted_proxies)  # type: ignore[arg-type,assignment]
    return outermost


def app_from_environment() -> ASGIApp:
    """Make the web service in a process that uvicorn starts, with settings from the environment."""
    settings = load_settings()
    telemetry.configure_logging(as_json=settings.log_format == "json", level=settings.log_level)
    stop_with_parent(settings.shutdown_timeout)
    return create_app(settings)


def create_api(settings: Settings) -> FastAPI:
    """Make the FastAPI application: routes, error handlers, documentation."""
    app: FastAPI = FastAPIOffline(
        title=api_document.TITLE,
        version=__version__,
        lifespan=partial(_lifespan, settings=settings),
        redirect_slashes=False,
        docs_url=None,
    )
    # `include_router` would wrap each router in another one, which costs a tenth of the time of a small request. Its
    # purpose is to inherit options, which these routers do not use.
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    app.state.turns = ProcessTurns.from_settings(settings)
    check_callers(app.routes)
    check_fired_kinds(wiring.TICKET_TIMERS)
    install_error_handlers(app)
    install_docs_page(app)
    app.openapi = partial(api_document.build_openapi, app, settings)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: Settings) -> AsyncIterator[dict[str, object]]:
    app.state.services = services = _build_services(settings, app.state.turns)
    password_hashing.warm_up()
    password_strength.load_common_passwords()
    reader_database = wiring.make_database(settings, pool_size=1)  # requests may use up the other pools
    reader = CredentialChangeReader(reader_database, services.credential_cache)
    worker = Worker(settings, services.database) if settings.worker == "inline" else None
    if worker:
        worker.start()
    # Exempt the objects that live as long as the process from garbage collection.
    gc.collect()
    gc.freeze()
    reading = asyncio.create_task(reader.run())
    try:
        with serving_metrics(settings.host, settings.metrics_port, services.gauges.refresh):
            yield {ORIGINS: getattr(app.state, ORIGINS, None)}
    finally:
        try:
            if worker:
                await worker.stop()
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await reader_database.dispose()
            await services.database.dispose()
            await services.probe.dispose()


def _build_services(settings: Settings, turns: ProcessTurns) -> ProcessServices:
    assert settings.secret_key is not None
    database = wiring.make_database(settings)
    return ProcessServices(
        settings=settings,
        secret_key=settings.secret_key,
        database=database,
        credential_cache=CredentialCache(
            database, settings.secret_key, find_tenant=find_by_secret_hash, find_user=find_principal
        ),
        attempts=Attempts(Limiter(settings.redis_url), settings),
        ticket_timers=wiring.TICKET_TIMERS,
        subscribers=wiring.SUBSCRIBERS,
        providers=Providers(settings.oidc_providers),
        probe=wiring.make_database(settings, pool_size=1),
        revision=find_head_revision(),
        gauges=Gauges(database, turns),
        common_words=CommonWords(database),
    )

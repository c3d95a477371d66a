"""Health, metrics, and the worker's jobs."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import DBAPIError

from app.access.callers import UserCaller
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import Db
from app.access.user_permissions import Action, Resource
from app.core.database.pool import NotMigrated
from app.core.database.revisions import is_supported
from app.core.errors import NotFound, Unavailable
from app.core.outbox import timers
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.operations import queries
from app.operations.metrics_server import render_metrics
from app.operations.schemas import Health, JobsOverview, PendingWork, ScheduledJob
from app.operations.services import OperationsServices

router = APIRouter(tags=["Operations"], route_class=Route)

log = structlog.get_logger("tessera.operations")


@router.get(
    "/health/live",
    operation_id="isLive",
    summary="Ask whether the process runs",
    responses=responses(),
)
async def is_live() -> Health:
    """Respond as long as the process runs. If there is no response, restart the process."""
    return Health()


@router.get(
    "/health/ready",
    operation_id="isReady",
    summary="Ask whether requests can be served",
    responses=responses(NotMigrated),
)
async def is_ready(request: Request) -> Health:
    """Check that the database can be reached and is migrated to this version. On 503, send requests elsewhere."""
    services = get_services(request, OperationsServices)
    try:
        # On a separate connection: requests that wait for connections do not make the service unready.
        async with services.probe.session(None) as db:
            is_migrated = await is_supported(db, services.revision)
    except DBAPIError as error:  # such as a missing database or a wrong password: no request can be served
        log.warning("database_not_ready", error=f"{type(error).__name__}: {error.orig}"[:300])
        raise Unavailable from error
    if not is_migrated:
        raise NotMigrated
    return Health()


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Read the metrics for Prometheus",
    response_class=Response,
    responses={
        **responses(NotFound),
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "tessera_timers_overdue 0.0\n"}},
            "description": "The text format.",
        },
    },
)
async def get_metrics(request: Request) -> Response:
    """Return requests, latencies, the connection pool and the backlog. No label has an organisation's data.

    Do not expose it to the internet. With the setting `METRICS_PORT`, the metrics are on that port only, and this is a
    404.
    """
    services = get_services(request, OperationsServices)
    if services.settings.metrics_port is not None:
        raise NotFound
    await services.gauges.refresh()
    return Response(render_metrics(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/jobs",
    operation_id="getJobs",
    summary="Read the worker's jobs and the organisation's pending work",
    responses=responses(),
)
async def get_jobs(caller: Annotated[UserCaller, requires(Resource.JOBS, Action.VIEW)], db: Db) -> JobsOverview:
    """Return when the worker's jobs ran last, and how much of your organisation's work waits for them."""
    waiting, queued, oldest = await timers.measure_pending(db, caller.org_id)
    return JobsOverview(
        jobs=[
            ScheduledJob(
                name=run.name,
                every=run.every_seconds,
                last_run_at=run.last_run_at,
                next_run_at=run.next_run_at,
                last_error=run.last_error,
            )
            for run in await queries.list_job_runs(db)
        ],
        pending=PendingWork(
            timers=waiting,
            deliveries=queued,
            oldest_due_at=oldest,
            parked_events=await queries.count_parked_failures(db, caller.org_id),
        ),
    )

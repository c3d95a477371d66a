"""Logs and metrics. No label and no log line contains a secret, a request body or a tenant's data."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import MutableMapping

REQUESTS = Counter("tessera_http_requests_total", "Requests by route and status.", ["method", "route", "status"])
LATENCY = Histogram(
    "tessera_http_request_seconds",
    "Time from the first byte of the request to the last of the response, by route.",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("tessera_http_requests_in_flight", "Requests being served.", multiprocess_mode="livesum")
REQUESTS_WAITING = Gauge(
    "tessera_http_requests_waiting", "Requests that wait for their turn.", multiprocess_mode="livesum"
)
REQUESTS_IN_WORK = Gauge("tessera_http_requests_in_work", "Requests that have a turn.", multiprocess_mode="livesum")
POOL_IN_USE = Gauge("tessera_database_connections_in_use", "Connections in use.", multiprocess_mode="livesum")
EVENTS_WAITING = Gauge(
    "tessera_events_waiting", "Events not relayed to subscribers yet.", multiprocess_mode="mostrecent"
)
TIMERS_OVERDUE = Gauge("tessera_timers_overdue", "Timers past their due time.", multiprocess_mode="mostrecent")
DELIVERIES_QUEUED = Gauge("tessera_deliveries_queued", "Deliveries waiting to be sent.", multiprocess_mode="mostrecent")
OLDEST_DELIVERY = Gauge(
    "tessera_deliveries_oldest_seconds", "Age of the oldest queued delivery.", multiprocess_mode="mostrecent"
)
DELIVERIES_ENDED = Counter(
    "tessera_deliveries_ended_total", "Finished deliveries, by channel and status.", ["channel", "state"]
)
DELIVERY_ATTEMPTS = Counter(
    "tessera_delivery_attempts_total", "Delivery attempts, by channel and result.", ["channel", "result"]
)
EVENTS_PARKED = Counter("tessera_events_parked_total", "Events that a subscriber gave up on.", ["subscriber"])


def configure_logging(*, as_json: bool, level: str) -> None:
    """Write one line per record to stderr, for Tessera's own loggers and for libraries.

    Tracebacks are plain, because those with variables would show secrets.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any
    logger_factory: Any
    if as_json:
        shared.append(structlog.processors.format_exc_info)
        renderer = _render_json
        processors, logger_factory = [*shared, _render_json_bytes], structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        )
        processors, logger_factory = [*shared, renderer], structlog.WriteLoggerFactory(sys.stderr)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=logger_factory,
        cache_logger_on_first_use=True,
    )
    _include_libraries(shared, renderer, level)


def _include_libraries(shared: list[Any], renderer: Any, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn.access", "uvicorn.error", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # It warns whenever a run is skipped because the previous one is still in progress.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def _render_json(logger: object, name: str, event: MutableMapping[str, Any]) -> str:
    return _render_json_bytes(logger, name, event).decode()


def _render_json_bytes(_logger: object, _name: str, event: MutableMapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(event, default=str)
    except TypeError:  # such as a lone surrogate; logging must never fail a request
        return json.dumps(event, default=str).encode()

"""What crosses the wire for those who run the service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.core.fields import Out, OutTime


class Health(Out):
    """All is well."""

    status: Literal["ok"] = "ok"


class Job(Out):
    """One of the scheduler's jobs. It holds no business state: losing it loses nothing."""

    name: Annotated[str, Field(examples=["timers"])]
    every: Annotated[float, Field(description="Seconds.", examples=[0.5])]
    last_run_at: OutTime | None
    next_run_at: OutTime | None
    last_error: str | None


class Pending(Out):
    """The organisation's waiting work. Times are real."""

    timers: int
    deliveries: int
    oldest_due_at: OutTime | None
    parked_events: Annotated[
        int, Field(description="Events that something kept failing on: see the logs of the worker.")
    ]


class Jobs(Out):
    """The scheduler's jobs and the organisation's pending work."""

    jobs: list[Job]
    pending: Pending


class ApiIndex(Out):
    """The version of the service, and the paths of its documentation and health checks."""

    name: Annotated[str, Field(examples=["Tessera"])]
    version: Annotated[str, Field(examples=["0.2.0"])]
    docs: Annotated[str, Field(description="Documentation to try operations out in.", examples=["/docs"])]
    redoc: Annotated[str, Field(description="Documentation to read.", examples=["/redoc"])]
    openapi: Annotated[str, Field(description="The OpenAPI document.", examples=["/openapi.json"])]
    live: Annotated[str, Field(description="Whether the process runs.", examples=["/health/live"])]
    ready: Annotated[str, Field(description="Whether requests can be served.", examples=["/health/ready"])]

"""Define the responses for operators of the service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.core.fields import ResponseModel, UtcTimestamp


class Health(ResponseModel):
    """The service is healthy."""

    status: Annotated[Literal["ok"], Field(description="Always `ok`: an unhealthy service responds with an error.")] = (
        "ok"
    )


class ScheduledJob(ResponseModel):
    """One of the worker's periodic jobs."""

    name: Annotated[str, Field(description="The job's name.", examples=["timers"])]
    every: Annotated[float, Field(description="Seconds between two runs.", examples=[0.5])]
    last_run_at: Annotated[UtcTimestamp | None, Field(description="When it last ran; null before the first run.")]
    next_run_at: Annotated[UtcTimestamp | None, Field(description="When it will run next; null if it will not.")]
    last_error: Annotated[str | None, Field(description="Why the last run failed; null if it succeeded.")]


class PendingWork(ResponseModel):
    """The organisation's work that waits for the worker. All times are real time."""

    timers: Annotated[int, Field(description="How many timers are set.")]
    deliveries: Annotated[int, Field(description="How many messages have not been sent yet.")]
    oldest_due_at: Annotated[
        UtcTimestamp | None, Field(description="When the earliest of them is due; null if there are none.")
    ]
    parked_events: Annotated[
        int, Field(description="How many events could not be handled. The worker logs the reasons.")
    ]


class JobsOverview(ResponseModel):
    """The scheduler's jobs and the organisation's pending work."""

    jobs: Annotated[list[ScheduledJob], Field(description="The scheduler's jobs, which all organisations share.")]
    pending: Annotated[PendingWork, Field(description="The organisation's pending work.")]


class ApiIndex(ResponseModel):
    """The version of the service, and the paths of its documentation and health checks."""

    name: Annotated[str, Field(description="The name of the service.", examples=["Tessera"])]
    version: Annotated[str, Field(description="The version of the service.", examples=["0.2.0"])]
    docs: Annotated[str, Field(description="Documentation to try operations out in.", examples=["/docs"])]
    redoc: Annotated[str, Field(description="Documentation to read.", examples=["/redoc"])]
    openapi: Annotated[str, Field(description="The OpenAPI document.", examples=["/openapi.json"])]
    live: Annotated[str, Field(description="The path that tells whether the process runs.", examples=["/health/live"])]
    ready: Annotated[
        str, Field(description="The path that tells whether requests can be served.", examples=["/health/ready"])
    ]

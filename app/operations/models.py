"""The rows about the worker's own jobs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.base import LOCAL_TABLE, Base


class JobRun(Base):
    """The last run of a scheduled job, in any process."""

    __tablename__ = "job_runs"

    name: Mapped[str] = mapped_column(primary_key=True)
    every_seconds: Mapped[float]
    last_run_at: Mapped[datetime]
    next_run_at: Mapped[datetime | None]
    last_error: Mapped[str | None]

    __table_args__ = LOCAL_TABLE

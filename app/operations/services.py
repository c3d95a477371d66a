"""What health checks and metrics need of the process."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.services import Services
from app.core.database.pool import Database
from app.operations.gauges import Gauges


@dataclass(frozen=True, kw_only=True)
class OperationsServices(Services):
    """`probe` is a connection of its own for readiness checks; `schema_revision` is this version's last migration."""

    probe: Database
    schema_revision: str | None
    gauges: Gauges

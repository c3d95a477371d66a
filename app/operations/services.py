"""The services that health checks and metrics use."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.services import Services
from app.core.database.pool import Database
from app.operations.gauges import Gauges


@dataclass(frozen=True, kw_only=True)
class OperationsServices(Services):
    """The services of a process, with the services for operators.

    Attributes:
        probe: a pool with one connection, for readiness checks only.
        revision: the last migration of this version.
    """

    probe: Database
    revision: str | None
    gauges: Gauges

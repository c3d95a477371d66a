"""Every domain's rows, for the mapper and for Alembic."""

from __future__ import annotations

from app.core.models import Base
from app.identity import models as identity
from app.organisations import models as organisations
from app.tickets import models as tickets

__all__ = ["Base", "identity", "organisations", "tickets"]

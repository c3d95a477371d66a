"""Every domain's rows, for the mapper and for Alembic."""

from __future__ import annotations

from app.core.models import Base
from app.identity.links import models as links
from app.identity.menus import models as menus
from app.identity.people import models as people
from app.identity.pictures import models as pictures
from app.identity.roles import models as roles
from app.identity.second_factor import models as second_factor
from app.identity.sessions import models as sessions
from app.identity.social import models as social
from app.organisations import models as organisations
from app.tickets import models as tickets
from app.tickets.search import models as ticket_search

__all__ = [
    "Base",
    "links",
    "menus",
    "organisations",
    "people",
    "pictures",
    "roles",
    "second_factor",
    "sessions",
    "social",
    "ticket_search",
    "tickets",
]

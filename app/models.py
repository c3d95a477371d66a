"""The models of every domain, imported for SQLAlchemy's mapper and for Alembic."""

from __future__ import annotations

from app.access import models as access
from app.accounts.pictures import models as pictures
from app.accounts.roles import models as roles
from app.accounts.single_use_links import models as links
from app.accounts.users import models as users
from app.authentication.second_factor import models as second_factor
from app.authentication.sessions import models as sessions
from app.authentication.social import models as social
from app.core.database import revisions
from app.core.database.base import Base
from app.core.outbox import models as outbox
from app.menus import models as menus
from app.notifications import models as notifications
from app.operations import models as operations
from app.organisations import models as organisations
from app.requesters import models as requesters
from app.tickets import models as tickets
from app.tickets.comments import models as comments
from app.tickets.search import models as ticket_search

__all__ = [
    "Base",
    "access",
    "comments",
    "links",
    "menus",
    "notifications",
    "operations",
    "organisations",
    "outbox",
    "pictures",
    "requesters",
    "revisions",
    "roles",
    "second_factor",
    "sessions",
    "social",
    "ticket_search",
    "tickets",
    "users",
]

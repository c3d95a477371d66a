"""The objects that all requests of a process share. `get_services` returns them.

`app/main.py` builds it when the process starts. A domain whose routes need more extends `Services` with its own fields,
and asks for that class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, overload

from fastapi import Request

from app.access.attempt_limits import Attempts
from app.access.credential_cache import CredentialCache
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.subscriptions import Subscribers
from app.core.outbox.timers import Handlers
from app.core.web.cors import Origins


@dataclass(frozen=True, kw_only=True)
class Services:
    """The services that the routes of every domain may use.

    `secret_key` is the service's own: it signs tokens, links and cursors. `ticket_timers` and `subscribers` are
    here because moving the clock of a sandbox runs them within the request.
    """

    settings: Settings
    secret_key: str
    database: Database
    credential_cache: CredentialCache
    attempts: Attempts
    ticket_timers: Handlers
    subscribers: Subscribers


def get_origins(request: Request) -> Origins:
    """Return the origins whose browsers may read responses, as this process knows them."""
    origins = request.app.state.origins
    assert isinstance(origins, Origins)
    return origins


S = TypeVar("S", bound=Services)


@overload
def get_services(request: Request) -> Services: ...
@overload
def get_services(request: Request, services_type: type[S]) -> S: ...
def get_services(request: Request, services_type: type[Services] = Services) -> Services:
    """Return the services of the process that serves the request.

    Args:
        services_type: the class of a domain that extends `Services`.
    """
    services = request.app.state.services
    assert isinstance(services, services_type)
    return services

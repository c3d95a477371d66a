"""The services of the process that social sign-in needs."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.services import Services
from app.authentication.social.provider import Providers


@dataclass(frozen=True, kw_only=True)
class SocialServices(Services):
    """`providers` are the providers of the settings, with the cached metadata and keys of each."""

    providers: Providers

"""What social sign-in needs of the process."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.services import Services
from app.authentication.social.provider import Providers


@dataclass(frozen=True, kw_only=True)
class SocialServices(Services):
    """`providers` are those of the settings, with what is known of each."""

    providers: Providers

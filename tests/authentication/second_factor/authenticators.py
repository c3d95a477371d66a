"""Users with a second factor, and their authenticators."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp

from app.access.user_permissions import RoleKind
from app.core.clock import real_now
from tests.accounts.users_and_roles import ADMIN, add_user, ok
from tests.organisation_client import PASSWORD, Desk, SignedInUser, open_session
from tests.services import change_password

STEP = 30


@dataclass(frozen=True)
class Authenticator:
    """An authenticator app with a secret."""

    secret: str

    @classmethod
    def of(cls, uri: str) -> Authenticator:
        """Read the secret from the URI of a QR code."""
        return cls(parse_qs(urlsplit(uri).query)["secret"][0])

    def code(self, ahead: int = 0) -> str:
        """Return the current code, or the one of `ahead` steps of 30 seconds later."""
        return pyotp.TOTP(self.secret).at(int(time.time()) + ahead * STEP)

    @property
    def wrong_code(self) -> str:
        """A code that is invalid for at least two minutes."""
        shown = {self.code(ahead) for ahead in range(-5, 6)}
        return next(code for code in map("{:06}".format, range(20)) if code not in shown)


@dataclass(frozen=True)
class ProtectedUser:
    """A user with a second factor, who has used the current code."""

    desk: Desk
    user: SignedInUser
    authenticator: Authenticator
    recovery_codes: list[str]

    async def sign_in(self, http: httpx.AsyncClient | None = None, **more: object) -> httpx.Response:
        """Sign in with the right password."""
        body = {"email": self.user.email, "password": PASSWORD, "org": self.desk.domain, **more}
        return await (http or self.user.http).post("/auth/signin", json=body)

    async def post(self, http: httpx.AsyncClient, path: str, body: object) -> httpx.Response:
        """Send a request of the user with another HTTP client."""
        return await http.post(path, json=body, headers=self.user.headers)


async def create_unprotected_user(desk: Desk, role: RoleKind = ADMIN) -> SignedInUser:
    """Create a signed-in user without a second factor."""
    row = await add_user(desk, role, email_verified_at=real_now())
    await change_password(desk, row.id, PASSWORD)
    return await open_session(desk, row)


async def set_up(user: SignedInUser) -> Authenticator:
    """Set up a second factor without confirming it; return the authenticator."""
    return Authenticator.of(ok(await user.post("/auth/2fa/setup"))["otpauthUri"])


async def create_protected_user(desk: Desk, role: RoleKind = ADMIN) -> ProtectedUser:
    """Create a signed-in user who has confirmed a second factor."""
    user = await create_unprotected_user(desk, role)
    authenticator = await set_up(user)
    answer = ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
    return ProtectedUser(desk, user, authenticator, answer["recoveryCodes"])

"""Users with a second factor, and what shows them their codes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp

from app.access.permissions import RoleKind
from tests.accounts.crew import ADMIN, hire, ok
from tests.organisation_client import PASSWORD, Desk, SignedInUser, open_session
from tests.services import change_password

STEP = 30


@dataclass(frozen=True)
class Authenticator:
    """An app that has a secret."""

    secret: str

    @classmethod
    def of(cls, uri: str) -> Authenticator:
        """Scan a QR code."""
        return cls(parse_qs(urlsplit(uri).query)["secret"][0])

    def code(self, ahead: int = 0) -> str:
        """What it shows now, or so many steps of 30 seconds later."""
        return pyotp.TOTP(self.secret).at(int(time.time()) + ahead * STEP)

    @property
    def wrong_code(self) -> str:
        """A code that it does not show for some minutes."""
        shown = {self.code(ahead) for ahead in range(-5, 6)}
        return next(code for code in map("{:06}".format, range(20)) if code not in shown)


@dataclass(frozen=True)
class Protected:
    """Somebody with a second factor, of whose codes the present one has been used."""

    desk: Desk
    user: SignedInUser
    authenticator: Authenticator
    recovery_codes: list[str]

    async def sign_in(self, http: httpx.AsyncClient | None = None, **more: object) -> httpx.Response:
        """With the right password."""
        body = {"email": self.user.email, "password": PASSWORD, "org": self.desk.domain, **more}
        return await (http or self.user.http).post("/auth/signin", json=body)

    async def post(self, http: httpx.AsyncClient, path: str, body: object) -> httpx.Response:
        """Call another service than the one that they are used to."""
        return await http.post(path, json=body, headers=self.user.headers)


async def unprotected(desk: Desk, role: RoleKind = ADMIN) -> SignedInUser:
    """Somebody without one, who is signed in."""
    row = await hire(desk, role)
    await change_password(desk, row.id, PASSWORD)
    return await open_session(desk, row)


async def set_up(user: SignedInUser) -> Authenticator:
    """Somebody's authenticator, not confirmed yet."""
    return Authenticator.of(ok(await user.post("/auth/2fa/setup"))["otpauthUri"])


async def protected(desk: Desk, role: RoleKind = ADMIN) -> Protected:
    """Somebody who has just confirmed one."""
    user = await unprotected(desk, role)
    authenticator = await set_up(user)
    answer = ok(await user.post("/auth/2fa/confirm", {"code": authenticator.code()}))
    return Protected(desk, user, authenticator, answer["recoveryCodes"])

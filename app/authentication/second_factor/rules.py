"""The rules about codes, as pure functions: TOTP (RFC 6238), and the codes that do in its place."""

from __future__ import annotations

import hmac
from datetime import datetime

import pyotp

STEP = 30  # seconds
DRIFT = 1  # steps that the authenticator's clock may be off
# A QR code holds so much; what is cut off was only to be read.
MAX_ISSUER_LENGTH = 30
MAX_ACCOUNT_LENGTH = 100


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The time step that a code belongs to, of those that may be meant at `now` (real time)."""
    totp = pyotp.TOTP(secret, interval=STEP)
    present = int(now.timestamp()) // STEP
    steps = range(present - DRIFT, present + DRIFT + 1)
    return next((step for step in steps if hmac.compare_digest(totp.at(step * STEP), code)), None)


def otpauth_uri(secret: str, *, issuer: str, account: str) -> str:
    """What an authenticator reads from a QR code (the Key Uri Format that all of them know)."""
    # A colon parts the issuer from the account.
    issuer = issuer.replace(":", " ")[:MAX_ISSUER_LENGTH].strip()
    account = account.replace(":", " ")[:MAX_ACCOUNT_LENGTH]
    return pyotp.TOTP(secret, interval=STEP).provisioning_uri(name=account, issuer_name=issuer)

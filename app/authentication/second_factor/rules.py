"""The rules of authenticator codes (TOTP, RFC 6238), as pure functions."""

from __future__ import annotations

import hmac
import unicodedata
from datetime import datetime

import pyotp

STEP = 30  # seconds
MAX_CLOCK_DRIFT = 1  # steps that the authenticator's clock may be off
# More does not fit a QR code. Authenticators only display these texts, so they may be truncated.
MAX_ISSUER_LENGTH = 30
MAX_ACCOUNT_LENGTH = 100


def normalise_totp(typed: str) -> str:
    """Return a code that was typed or pasted, without its separators, and in the digits 0 to 9 of whatever script."""
    return "".join(
        _to_plain_digit(character) for character in unicodedata.normalize("NFKC", typed) if not _is_separator(character)
    )


def _to_plain_digit(character: str) -> str:
    return str(unicodedata.decimal(character, character))


def normalise_recovery_code(typed: str) -> str:
    """Return the letters and digits of a recovery code that was typed or pasted: in any case, width and grouping."""
    return "".join(
        _to_plain_digit(character) for character in unicodedata.normalize("NFKC", typed).upper() if character.isalnum()
    )


def _is_separator(character: str) -> bool:
    # Spaces, dashes, and invisible characters such as U+200B and U+FEFF.
    return character in _SEPARATORS or character.isspace() or unicodedata.category(character) in {"Zs", "Pd", "Cf"}


_SEPARATORS = frozenset(".,·_\u2212")


def find_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step near `now` (real time) that has this code; `None` if no step has it."""
    totp = pyotp.TOTP(secret, interval=STEP)
    current = int(now.timestamp()) // STEP
    steps = range(current - MAX_CLOCK_DRIFT, current + MAX_CLOCK_DRIFT + 1)
    return next((step for step in steps if hmac.compare_digest(totp.at(step * STEP), code)), None)


def otpauth_uri(secret: str, *, issuer: str, account: str) -> str:
    """Return the URI that authenticators read from a QR code (Key Uri Format)."""
    # A colon separates the issuer from the account.
    issuer = issuer.replace(":", " ")[:MAX_ISSUER_LENGTH].strip()
    account = account.replace(":", " ")[:MAX_ACCOUNT_LENGTH]
    return pyotp.TOTP(secret, interval=STEP).provisioning_uri(name=account, issuer_name=issuer)

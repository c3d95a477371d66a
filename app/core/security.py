"""Secrets, tokens and passwords: how they are made and checked. Nothing here reads a database."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import string
import time
import unicodedata
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from jose import jwt
from passlib.hash import argon2 as _argon2
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from app.core.errors import Unauthenticated, Unavailable
from app.core.ids import new_id

SECRET_PREFIX = "tsk_"  # noqa: S105 - the public part
SECRET_LENGTH = 48
_CHECKSUM_LENGTH = 6  # 62^6 is more than 2^32, so a CRC-32 fits
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase

ACCESS_TOKEN_LIFETIME = timedelta(minutes=30)
_ALGORITHM = "HS256"
_ISSUER = "tessera"
_AUDIENCE = "tessera-api"

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 128
MIN_DIFFERENT_CHARACTERS = 3
MIN_FACT_LENGTH = 4  # a shorter name or part of one tells nothing about a password
MAX_HASHING = 2  # each takes 64 MiB for as long as it runs
MAX_WAITING = 32

V = TypeVar("V")


# --- organisation secrets ------------------------------------------------------------------------


def new_secret() -> str:
    """An organisation's secret: `tsk_`, 42 random characters (250 bits), and a checksum of 6."""
    body = "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH - _CHECKSUM_LENGTH))
    return SECRET_PREFIX + body + _checksum(body)


def is_secret(text: str) -> bool:
    """Whether this has the form of a secret, checksum included: a scanner for leaked ones asks just this."""
    if len(text) != len(SECRET_PREFIX) + SECRET_LENGTH or not text.startswith(SECRET_PREFIX) or not text.isascii():
        return False
    body, checksum = text[len(SECRET_PREFIX) : -_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    return body.isalnum() and secrets.compare_digest(checksum, _checksum(body))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32((SECRET_PREFIX + body).encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits


def secret_hash(secret: str) -> bytes:
    """What is stored of a secret: its SHA-256. It has 250 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).digest()


# --- access tokens -------------------------------------------------------------------------------


@dataclass(frozen=True)
class AccessClaims:
    """What an access token says. Whether its person may still act is looked up."""

    person_id: UUID
    org_id: UUID
    session_id: UUID
    expires_at: float  # seconds since the epoch
    all: Mapping[str, Any]


def issue_access_token(key: str, *, person_id: UUID, org_id: UUID, session_id: UUID, role: str, now: datetime) -> str:
    """A JWT (RFC 7519) for this person, valid for `ACCESS_TOKEN_LIFETIME` from `now` (real time)."""
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": str(person_id),
        "org": str(org_id),
        "sid": str(session_id),
        "role": role,
        "typ": "access",
        "iat": int(now.timestamp()),
        "exp": int((now + ACCESS_TOKEN_LIFETIME).timestamp()),
        "jti": str(new_id()),
    }
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def read_access_token(key: str, token: str) -> AccessClaims:
    """The claims of a token that is ours, whole and not expired.

    Raises:
        Unauthenticated: anything else, whatever the token makes the parser do.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            options={f"require_{claim}": True for claim in ("iss", "aud", "sub", "iat", "exp", "jti")},
        )
        # RFC 7519, 4.1.4: not "on or after" that second; the library lets that second pass.
        if claims["typ"] != "access" or claims["exp"] <= time.time():
            raise InvalidToken  # noqa: TRY301 - it is what the except clause makes of everything
        return AccessClaims(
            person_id=UUID(claims["sub"]),
            org_id=UUID(claims["org"]),
            session_id=UUID(claims["sid"]),
            expires_at=float(claims["exp"]),
            all=claims,
        )
    except Exception:  # noqa: BLE001 - a hostile token makes the parser raise nearly anything, RecursionError too
        raise InvalidToken from None


class InvalidToken(Unauthenticated):
    """The bearer token is not one of ours, or it has expired."""

    code = "invalid_token"
    title = "The access token is not valid, or has expired."


# --- passwords -----------------------------------------------------------------------------------

argon2: Any = _argon2  # whose types are not known
_threads = ThreadPoolExecutor(max_workers=MAX_HASHING, thread_name_prefix="password")
_waiting = 0


class Busy(Unavailable):
    """Too many passwords are waiting to be checked."""

    code = "busy"
    title = "Too many people are signing in right now: try again in a moment."


def salt_of(key: str, email: str) -> bytes:
    """The salt of all passwords of an e-mail: 128 bits that nobody can tell without the key.

    One e-mail can have an account in any number of organisations; with one salt, one computation compares them all.
    Otherwise somebody could sign up in many with another's e-mail, and have each of its sign-ins cost as many.
    """
    return hmac.new(key.encode(), b"salt\0" + email.encode(), hashlib.sha256).digest()[:16]


async def hash_password(password: str, salt: bytes) -> str:
    """The argon2id hash of a password, computed off the event loop.

    Raises:
        Busy: too many are waiting already.
    """
    return await _hashing(lambda: str(argon2.using(salt=salt).hash(_normal(password))))


async def fitting(password: str, hashes: Collection[str]) -> set[str]:
    """Those of the hashes that the password fits: one computation for all with one salt, and one where there are none.

    Raises:
        Busy: too many are waiting already.
    """
    alike = {hashed.rpartition("$")[0]: hashed for hashed in hashes} or {"": _hash_of_nothing()}
    made = await asyncio.gather(*(_hashing(partial(_hash_like, password, one)) for one in alike.values()))
    return {hashed for hashed in hashes if any(secrets.compare_digest(hashed, one) for one in made)}


def same_password(one: str, other: str) -> bool:
    """Whether these are typed the same password."""
    return _normal(one) == _normal(other)


def _normal(password: str) -> str:
    # The same characters can be typed as different code points on different keyboards (RFC 8265, 4.2).
    return unicodedata.normalize("NFC", password)


def _hash_like(password: str, hashed: str) -> str:
    """The password's hash with the salt and the costs of another."""
    like = argon2.from_string(hashed)
    costs = {"rounds": like.rounds, "memory_cost": like.memory_cost, "parallelism": like.parallelism}
    return str(argon2.using(salt=like.salt, **costs).hash(_normal(password)))


@lru_cache(maxsize=1)
def _hash_of_nothing() -> str:
    return str(argon2.hash(secrets.token_urlsafe()))


async def _hashing(work: Callable[[], V]) -> V:
    global _waiting  # noqa: PLW0603 - the bound is per process, like the threads
    if _waiting >= MAX_HASHING + MAX_WAITING:
        raise Busy
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)
    finally:
        _waiting -= 1


def warm_up() -> None:
    """Make the first sign-in as quick as the next ones, and an unknown e-mail as slow as a known one."""
    _hash_of_nothing()
    _common_passwords()


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])


def password_weakness(password: str, *known: str) -> str | None:
    """Why this password is easily guessed, or `None`. `known` is what everybody knows: names, the e-mail."""
    if password.lower() in _common_passwords() or len(set(password.lower())) < MIN_DIFFERENT_CHARACTERS:
        return "This password is among the most common ones: choose another."
    bare = _bare(password)
    for fact in known:
        parts = {_bare(fact), _bare(fact.partition("@")[0]), _bare(fact.partition(".")[0])}
        if any(len(part) >= MIN_FACT_LENGTH and _is_mostly(bare, part) for part in parts):
            return "This password is too close to a name that others know: choose another."
    return None


def _bare(text: str) -> str:
    """Its letters and digits alone: spaces, dots and capitals make nothing harder to guess."""
    return "".join(character for character in text.lower() if character.isalnum())


def _is_mostly(password: str, part: str) -> bool:
    return part in password and len(password) - len(part) < MIN_FACT_LENGTH


# --- remembering briefly -------------------------------------------------------------------------


class Remembered(Generic[V]):
    """A small cache whose entries live for `seconds`; the oldest goes when there are more than `size`."""

    def __init__(self, *, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._size = size
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """The value, unless it is unknown or too old."""
        entry = self._entries.get(key)
        if entry is None or entry[0] < time.monotonic():
            return None
        return entry[1]

    def put(self, key: Hashable, value: V) -> None:
        """Remember a value from now on."""
        self._entries.pop(key, None)
        self._entries[key] = (time.monotonic() + self._seconds, value)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def discard(self, is_meant: Callable[[Any, V], bool]) -> None:
        """Forget those entries of whose key and value this is true."""
        for key in [key for key, (_, value) in self._entries.items() if is_meant(key, value)]:
            del self._entries[key]

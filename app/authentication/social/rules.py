"""The rules of social sign-in, as pure functions: what is taken from a provider's word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.fields import normalise_email

MAX_SUBJECT_LENGTH = 255  # OpenID Connect Core, section 2
MAX_NAME_LENGTH = 100
# Only what a provider signs with a key that it keeps to itself: HS* would make our shared secret one that signs.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
DEFAULT_ALGORITHM = "RS256"

_VOUCHERS = frozenset({"email_verified", "xms_edov"})
_SEPARATORS = re.compile(r"[._+\-]+")


class IdentityRejected(Exception):
    """The provider's answers do not prove who somebody is. Its text is for the log, and holds no code or token."""


@dataclass(frozen=True)
class Identity:
    """Who somebody is at a provider. `email` is one that the provider says is theirs, or nothing."""

    subject: str
    email: str | None
    first_name: str
    last_name: str


def identity_of(claims: Mapping[str, Any]) -> Identity:
    """Who these claims are about.

    Raises:
        IdentityRejected: they have no usable `sub`.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise IdentityRejected("no usable sub")
    email = _email_of(claims)
    first_name, last_name = names_of(claims, email or "")
    return Identity(subject, email, first_name, last_name)


def lacks_email(claims: Mapping[str, Any]) -> bool:
    """Whether it is worth asking the provider for more about somebody."""
    return not claims.get("email")


def completed(claims: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims, with what the provider says besides; whatever it said of an e-mail before was of no e-mail.

    Raises:
        IdentityRejected: it says that of somebody else (OpenID Connect Core, 5.3.2).
    """
    if more.get("sub") != claims.get("sub"):
        raise IdentityRejected("userinfo about somebody else")
    return {name: value for name, value in claims.items() if name not in _VOUCHERS} | dict(more)


def _email_of(claims: Mapping[str, Any]) -> str | None:
    email = claims.get("email")
    # Some say it as a text; Microsoft says of the address's domain that its owner has proved it, as a number even.
    vouched = claims.get("email_verified") in (True, "true") or claims.get("xms_edov") in (True, "true", "1")
    if not isinstance(email, str) or not vouched:
        return None
    try:
        return normalise_email(email.strip())
    except ValueError:
        return None


def names_of(claims: Mapping[str, Any], email: str) -> tuple[str, str]:
    """A first and a last name, of whichever claims there are, or else of the e-mail; the last one may be empty."""
    given, family = clean_name(claims.get("given_name")), clean_name(claims.get("family_name"))
    if given or family:
        return (given, family) if given else (family, "")
    local = email.partition("@")[0]
    whole = clean_name(claims.get("name")) or clean_name(_SEPARATORS.sub(" ", local)) or local
    first, _, last = whole.partition(" ")
    return first[:MAX_NAME_LENGTH], last


def clean_name(value: object) -> str:
    """A name without what no name has: control characters, line breaks, runs of spaces."""
    if not isinstance(value, str):
        return ""
    spaced = "".join(" " if character.isspace() else character for character in value[: 10 * MAX_NAME_LENGTH])
    visible = "".join(character for character in spaced if unicodedata.category(character) not in _INVISIBLE)
    return " ".join(visible.split())[:MAX_NAME_LENGTH].strip()


_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def algorithms_of(supported: Sequence[str]) -> list[str]:
    """The algorithms that an ID token may be signed with, of those that the provider names.

    Raises:
        IdentityRejected: there are none that we accept.
    """
    accepted = [algorithm for algorithm in ALGORITHMS if algorithm in supported]
    if not accepted:
        raise IdentityRejected("no acceptable algorithm")
    return accepted

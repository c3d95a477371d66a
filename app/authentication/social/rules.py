"""The rules of social sign-in, as pure functions: which claims of a provider are accepted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.accounts.users.rules import refuse_url_as_name
from app.authentication.social.errors import IdentificationFailed
from app.core.email_addresses import normalise_email, refuse_reserved_email
from app.core.fields import is_visible

MAX_SUBJECT_LENGTH = 255  # OpenID Connect Core, section 2
MAX_NAME_LENGTH = 100
UNKNOWN_NAME = "User"  # if neither the claims nor the e-mail have a name
# Asymmetric algorithms only: with HS*, anyone who knows the client secret could sign tokens.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
DEFAULT_ALGORITHM = "RS256"

_VERIFICATION_CLAIMS = frozenset({"email_verified", "xms_edov"})
_SEPARATORS = re.compile(r"[._+\-]+")


@dataclass(frozen=True)
class Identity:
    """A user's identity at a provider. `email` is set only if the provider asserts that it is verified."""

    subject: str
    email: str | None
    first_name: str
    last_name: str


def parse_identity(claims: Mapping[str, Any]) -> Identity:
    """Read the identity from claims.

    Raises:
        IdentificationFailed: The `sub` claim is missing or invalid.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise IdentificationFailed("missing or invalid sub")
    email = _verified_email(claims)
    first_name, last_name = parse_names(claims, email or "")
    return Identity(subject, email, first_name, last_name)


def lacks_email(claims: Mapping[str, Any]) -> bool:
    """Return whether the claims have no e-mail, so that the userinfo endpoint must be asked."""
    return not claims.get("email")


def merge_userinfo(claims: Mapping[str, Any], userinfo: Mapping[str, Any]) -> Mapping[str, Any]:
    """Merge claims of the userinfo endpoint into the claims of an ID token without an e-mail.

    Assertions of the ID token that the e-mail is verified are dropped, as they do not refer to the merged e-mail.

    Raises:
        IdentificationFailed: The userinfo describes another subject (OpenID Connect Core, 5.3.2).
    """
    if userinfo.get("sub") != claims.get("sub"):
        raise IdentificationFailed("userinfo of another subject")
    return {name: value for name, value in claims.items() if name not in _VERIFICATION_CLAIMS} | dict(userinfo)


def _verified_email(claims: Mapping[str, Any]) -> str | None:
    email = claims.get("email")
    # Some providers send a string. Microsoft's xms_edov asserts that the owner of the domain is verified.
    is_verified = claims.get("email_verified") in (True, "true") or claims.get("xms_edov") in (True, "true", "1")
    if not isinstance(email, str) or not is_verified:
        return None
    try:
        return refuse_reserved_email(normalise_email(email.strip()))
    except ValueError:
        return None


def parse_names(claims: Mapping[str, Any], email: str) -> tuple[str, str]:
    """Return first and last name from the claims, or else from the e-mail; the last name may be empty.

    Both are names that `PATCH /me` takes.
    """
    given, family = clean_name(claims.get("given_name")), clean_name(claims.get("family_name"))
    if given or family:
        return (given, family) if given else (family, "")
    local = email.partition("@")[0]
    user_name = claims.get("preferred_username")
    whole = (
        clean_name(claims.get("name"))
        or clean_name(claims.get("nickname"))
        # Often the e-mail address.
        or (clean_name(user_name) if isinstance(user_name, str) and "@" not in user_name else "")
        or clean_name(_SEPARATORS.sub(" ", local))
        or clean_name(local)
        or UNKNOWN_NAME
    )
    first, _, rest = whole.partition(" ")
    if not is_visible(first):  # a lone combining mark
        return whole, ""
    return first, rest if is_visible(rest) else ""


def clean_name(value: object) -> str:
    """Remove control characters, line breaks and repeated spaces from a name; return nothing if it holds a URL.

    What remains has a visible character, or is empty.
    """
    if not isinstance(value, str):
        return ""
    spaced = "".join(" " if character.isspace() else character for character in value[: 10 * MAX_NAME_LENGTH])
    visible = "".join(character for character in spaced if unicodedata.category(character) not in _INVISIBLE)
    name = " ".join(visible.split())[:MAX_NAME_LENGTH].strip()
    try:
        return refuse_url_as_name(name) if is_visible(name) else ""
    except ValueError:
        return ""


_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def accepted_algorithms(supported: Sequence[str]) -> list[str]:
    """Return the algorithms for ID tokens that the provider supports and this service accepts.

    Raises:
        IdentificationFailed: None of them is accepted.
    """
    accepted = [algorithm for algorithm in ALGORITHMS if algorithm in supported]
    if not accepted:
        raise IdentificationFailed("no acceptable algorithm")
    return accepted

"""Rules about the names and domains of organisations: no database, no clock, no HTTP."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from urllib.parse import unquote
from uuid import UUID

import idna
import regex
from publicsuffixlist import PublicSuffixList

_NOT_ALPHANUMERIC = re.compile(r"[^A-Z0-9]")
MAX_PREFIX_LENGTH = 10
# The suffix of the placeholders for lost domains. A domain under `.invalid` cannot be registered (RFC 2606).
PLACEHOLDER_DOMAIN = "displaced.invalid"
# The settings on which others rely: where links in mails lead, whose pages may call the API, where replies to mails go,
# and who needs a second factor. Only an admin who has just signed in may change them, and all admins get a mail.
TRUSTED_SETTINGS = frozenset({"app_url", "allowed_origins", "support_email", "require_2fa"})
# What mail programs make a link of, even without a scheme. IDNA takes all of these dots for one (RFC 3490, 3.1).
_HOST = re.compile(r"[^\W_](?:[\w-]*[^\W_])?(?:[.\u3002\uff0e\uff61][^\W_](?:[\w-]*[^\W_])?)+")
_DOT = re.compile(r"[.\u3002\uff0e\uff61]")
_IP_ADDRESS = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\w)", re.ASCII
)
# Some mail programs take these schemes for the start of a link also without `//`.
_SCHEME = re.compile(r"://|\b(?:https?|ftps?|mailto|javascript|vbscript):\S|\bdata:\w+/", re.IGNORECASE)
_INVISIBLE = regex.compile(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]")
_SHORT_NAME = 2  # letters: those of countries
# Top-level domains without registration (RFC 2606, 6761, 6762, 7686). Some mail programs make links of them.
_SPECIAL_TOP_LEVEL_DOMAINS = frozenset({"example", "internal", "invalid", "local", "localhost", "onion", "test"})


def derive_reference_prefix(domain: str) -> str:
    """Make the first part of ticket references from a domain's first label: capitals and digits, at most ten."""
    label = domain.partition(".")[0].upper()
    return _NOT_ALPHANUMERIC.sub("", label)[:MAX_PREFIX_LENGTH] or "T"


def make_placeholder_domain(org_id: UUID) -> str:
    """Return the domain of an organisation that lost its own: always the same one."""
    return f"{org_id.hex}.{PLACEHOLDER_DOMAIN}"


def refuse_public_suffix(domain: str) -> str:
    """Return the domain unchanged.

    Raises:
        ValueError: it has a single label, is a public suffix such as co.uk, or is reserved for placeholders.
    """
    if "." not in domain or _public_suffixes().is_public(domain):
        raise ValueError("This domain cannot be registered: use one that is, such as growfin.com.")
    if domain == PLACEHOLDER_DOMAIN or domain.endswith(f".{PLACEHOLDER_DOMAIN}"):
        raise ValueError("This domain is reserved.")
    return domain


def refuse_url(name: str, *, may_have_initials: bool = False) -> str:
    """Return the name unchanged.

    Args:
        may_have_initials: whether it is a person's, so that `J.Li` is an initial and a name.

    Raises:
        ValueError: a mail program would make a link of it, or of a part.
    """
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name))
    for text in (plain, unquote(plain)):
        if _SCHEME.search(text):
            raise ValueError("A name may hold no URL: remove it.")
        for found in (*_HOST.finditer(text), *_IP_ADDRESS.finditer(text)):
            if may_have_initials and _has_initials(found[0]) and text[found.end() : found.end() + 1] != "/":
                continue
            if _is_host(found[0]):
                raise ValueError(
                    f"A name may hold no web address, and {found[0]} looks like one: put a space after the dot, or "
                    "write Growfin instead of growfin.com."
                )
    return name


def _has_initials(text: str) -> bool:
    """Return whether the text is capitals and a short name after dots, some of which are also top-level domains."""
    *initials, name = _DOT.split(text)
    return all(len(one) == 1 and one.isupper() for one in initials) and len(name) <= _SHORT_NAME and name.istitle()


def _is_host(text: str) -> bool:
    """Return whether the text is an IP address, or ends in a top-level domain. `Node.js` and `S.p.A` do not."""
    first, *_, last = _DOT.split(text)
    if first.casefold() == "www" or last.casefold() in _SPECIAL_TOP_LEVEL_DOMAINS or _IP_ADDRESS.fullmatch(text):
        return True
    try:
        top_level = idna.encode(last, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return False
    return _public_suffixes().publicsuffix(top_level, accept_unknown=False) is not None


@cache
def _public_suffixes() -> PublicSuffixList:
    """Read the list of public suffixes that the package brings along. It takes 40 ms."""
    return PublicSuffixList()

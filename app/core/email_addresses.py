"""Normalise and validate e-mail addresses and domains, and define the field types of them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

import email_validator
import idna
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, StringConstraints, WithJsonSchema

from app.core.fields import clean_line
from app.core.lookalikes import describe_lookalike, map_widths, mixes_scripts, refuse_lookalike, refuse_odd_characters

MAX_EMAIL_LENGTH = 254  # RFC 5321, 4.5.3.1, less the angle brackets
# The domain of the addresses that replace erased ones. Mail to it never arrives anywhere (RFC 2606).
RESERVED_EMAIL_DOMAIN = "erased.invalid"

# Company networks use names such as `.local` and `.test` as mail domains.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_NOT_AN_EMAIL = "This is not an e-mail address, such as mia@customer.example."


@lru_cache(maxsize=10_000)  # the check is slow, and the same few addresses recur
def normalise_email(value: str) -> str:
    """Check an e-mail address; return it in lower case and of usual width, the form that is stored and compared.

    Raises:
        ValueError: it is not a valid address.
    """
    try:
        # Only sending mail shows whether the domain exists. Domains of a local network are accepted.
        checked = validate_email(map_widths(value), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise ValueError(_NOT_AN_EMAIL) from None
    if checked.domain.rpartition(".")[2].isdigit():
        raise ValueError("This is not an e-mail address: the part after the @ is not a domain.")
    normalised = checked.normalized.lower()
    if len(normalised) > MAX_EMAIL_LENGTH:
        raise ValueError("This e-mail address is too long.")
    return normalised


# A local part of the characters of RFC 5322's atoms and of dots, which may be quoted.
_DOTTED_LOCAL_PART = re.compile(r"""("?)(?P<bare>[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64})\1""", re.IGNORECASE | re.ASCII)


def has_odd_dots(local_part: str) -> bool:
    """Return whether a local part has dots at an end or in a row, so that mail servers expect it in quotes."""
    return f".{local_part}.".count("..") > 0


@lru_cache(maxsize=10_000)
def normalise_requester_email(value: str) -> str:
    """Check an e-mail address of a requester, whose local part may have dots where RFC 5322 requires quotes.

    Japanese phone companies gave such addresses to their customers. Quotes are not part of what is stored.

    Raises:
        ValueError: it is not a valid address.
    """
    value = map_widths(value)
    local, _, domain = value.rpartition("@")
    dotted = _DOTTED_LOCAL_PART.fullmatch(local)
    if dotted is None:
        return normalise_email(value)
    bare = dotted["bare"].lower()
    if not has_odd_dots(bare):
        return normalise_email(f"{bare}@{domain}")
    _, _, normalised_domain = normalise_email(f"x@{domain}").rpartition("@")
    return f"{bare}@{normalised_domain}"


def is_deliverable(email: str) -> bool:
    """Return whether mail can be sent to an address: false for an address that replaced an erased one."""
    return not email.endswith(f"@{RESERVED_EMAIL_DOMAIN}")


def refuse_reserved_email(email: str) -> str:
    """Return the address unchanged.

    Raises:
        ValueError: it is of the domain that is reserved for addresses that replace erased ones.
    """
    if not is_deliverable(email):
        raise ValueError("This e-mail address is reserved.")
    return email


def refuse_lookalike_email(email: str) -> str:
    """Return a normalised address unchanged.

    Raises:
        ValueError: its local part, or its domain, could be mistaken for another.
    """
    local, _, domain = email.rpartition("@")
    refuse_lookalike(local)
    _refuse_mixed_domain(domain)
    return email


def refuse_odd_email(email: str) -> str:
    """Return a normalised address unchanged.

    Raises:
        ValueError: its local part has characters that identifiers may not have, or its domain could be mistaken.
    """
    local, _, domain = email.rpartition("@")
    refuse_odd_characters(local)
    _refuse_mixed_domain(domain)
    return email


def _refuse_mixed_domain(domain: str) -> None:
    # A domain in one script is usual. One that mixes scripts that are not written together is an imitation.
    if any(mixes_scripts(label) for label in domain.split(".")):
        raise ValueError("The domain mixes letters of several scripts, and could be mistaken for another one.")


def tell_apart(email: str) -> str:
    """Return an address for a mail, with the names of its letters if it could be mistaken for another one."""
    local, _, domain = email.rpartition("@")
    letters = [named for part in (local, *domain.split(".")) if (named := describe_lookalike(part))]
    return f"{email} (with {', '.join(letters)})" if letters else email


# To find what has this address. It may be from the time before lookalikes were refused.
KnownEmail = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=320),
    BeforeValidator(clean_line),
    AfterValidator(normalise_email),
    AfterValidator(refuse_reserved_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": MAX_EMAIL_LENGTH}),
]
KnownRequesterEmail = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=320),
    BeforeValidator(clean_line),
    AfterValidator(normalise_requester_email),
    AfterValidator(refuse_reserved_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": MAX_EMAIL_LENGTH}),
]
# Of a new account or requester. Mail is sent to requesters; accounts need an address that every mail server takes, and
# that looks like no other.
Email = Annotated[KnownEmail, AfterValidator(refuse_lookalike_email)]
RequesterEmail = Annotated[KnownRequesterEmail, AfterValidator(refuse_odd_email)]


def normalise_domain(value: str) -> str:
    """Return a domain in lower case; an international one in its IDNA 2008 form (RFC 5891).

    Raises:
        ValueError: it is not a valid domain.
    """
    try:
        domain = idna.encode(value.removesuffix("."), uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise ValueError("This is not a domain such as growfin.com.") from None
    if domain.rpartition(".")[2].isdigit():
        raise ValueError("This is an address, not a domain such as growfin.com.")
    return domain


Domain = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=253),
    BeforeValidator(clean_line),
    AfterValidator(normalise_domain),
]

"""Prepare passwords for comparison: the profile OpaqueString of RFC 8265.

Keyboards and systems produce different code points for the same characters. So spaces other than U+0020 become one, and
the text is in the form NFC. Control characters, invisible ones and code points without a character are not allowed.
"""

from __future__ import annotations

import unicodedata

from precis_i18n import get_profile

from app.core.security.password_strength import MAX_PASSWORD_LENGTH

MAX_RAW_LENGTH = 8 * MAX_PASSWORD_LENGTH  # preparing a longer text takes long, and does not make it short enough
_OPAQUE_STRING = get_profile("OpaqueString")


def prepare_new_password(password: object) -> object:
    """Prepare a chosen password. Its length is checked afterwards.

    Raises:
        ValueError: it has a character that is not allowed.
    """
    if not isinstance(password, str) or not 0 < len(password) <= MAX_RAW_LENGTH:
        return password
    try:
        return str(_OPAQUE_STRING.enforce(password))
    except UnicodeEncodeError as error:
        position = min(error.start, len(error.object) - 1)
        raise ValueError(
            f"The character U+{ord(error.object[position]):04X} at position {position + 1} is not allowed in a "
            "password: remove it."
        ) from None


def list_forms(password: str) -> list[str]:
    """List the forms to compare a typed password in: prepared, and as passwords were stored before.

    Both are compared if they differ, whichever of them an account has: so the duration reveals nothing.
    """
    earlier = unicodedata.normalize("NFC", password)
    if password.isascii():
        return [earlier]
    try:
        prepared = str(_OPAQUE_STRING.enforce(password))
    except UnicodeEncodeError:
        return [earlier]
    return list(dict.fromkeys([prepared, earlier]))

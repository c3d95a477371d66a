"""When an operation requires an admin, or a fresh sign-in, and how that is documented."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Applies(StrEnum):
    """When an operation requires an admin, or a fresh sign-in."""

    NEVER = "NEVER"
    ALWAYS = "ALWAYS"
    SOMETIMES = "SOMETIMES"  # depends on what the request changes: the service checks it, the description says when


_FRESH = "a sign-in within the last five minutes (403 `reauthentication_required`: see `POST /auth/reauthenticate`)"
# What the documentation of an operation says, by `admin` and `fresh`.
TRUST_DESCRIPTIONS: Mapping[tuple[Applies, Applies], str] = {
    (Applies.NEVER, Applies.NEVER): "",
    (Applies.ALWAYS, Applies.NEVER): " Only admins can call it.",
    (Applies.NEVER, Applies.ALWAYS): f" Requires {_FRESH}.",
    (Applies.ALWAYS, Applies.ALWAYS): f" Only admins can call it. Requires {_FRESH}.",
    (Applies.NEVER, Applies.SOMETIMES): f" Some changes require {_FRESH}.",
    (Applies.SOMETIMES, Applies.SOMETIMES): f" Some changes require an admin and {_FRESH}.",
}

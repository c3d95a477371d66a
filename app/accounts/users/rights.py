"""The rules about the users of an organisation, as pure functions: who may do what to whom."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from app.access.permissions import RoleKind
from app.accounts.users.rules import MAX_WORD_LENGTH, AccountStatus
from app.core.words import fold, split_words

APPROVABLE = frozenset({AccountStatus.PENDING, AccountStatus.REJECTED})
# Between these two an admin may change somebody's status as they like.
SETTLED = frozenset({AccountStatus.ACTIVE, AccountStatus.SUSPENDED})


def is_full_admin(*, role: str, role_id: UUID | None, status: str, denied: Collection[str]) -> bool:
    """Whether somebody can do everything, and so give anybody any right again. Every organisation keeps one."""
    return role == RoleKind.ADMIN and role_id is None and status == AccountStatus.ACTIVE and not denied


def raises(before: tuple[Collection[str], Collection[str]], after: tuple[Collection[str], Collection[str]]) -> bool:
    """Whether of what somebody is granted and denied, the second pair could ever give more than the first.

    A grant of what the role already gives is one, too: it would outlast the role.
    """
    (granted, denied), (granted_then, denied_then) = before, after
    return not set(granted_then) <= set(granted) or not set(denied) <= set(denied_then)


def query_terms(text: str) -> list[str]:
    """Return the normalised word prefixes that a search text asks for.

    A part that looks like an e-mail is one term. Prefixes of other terms are left out.
    """
    found: set[str] = set()
    for part in fold(text).split():
        local, at, domain = part.partition("@")
        found |= {part} if local and at and domain else set(split_words(part))
    cut = {word[:MAX_WORD_LENGTH] for word in found}
    return sorted(word for word in cut if not any(other != word and other.startswith(word) for other in cut))


def prefix_upper_bound(prefix: str) -> str:
    """Return a string greater than every word with this prefix, in code point order."""
    return prefix + chr(0x10FFFF)

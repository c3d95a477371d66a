"""The rules about the people of an organisation, as pure functions: who may do what to whom."""

from __future__ import annotations

import re
from collections.abc import Collection
from uuid import UUID

from app.identity.people.rules import MAX_WORD_LENGTH, folded
from app.organisations.permissions import Permissions, Role, exceeds

APPROVABLE = frozenset({"PENDING", "REJECTED"})
# Between these two an admin may change somebody's status as they like.
SETTLED = frozenset({"ACTIVE", "SUSPENDED"})

_WORDS = re.compile(r"[^\W_]+")
_NOT_ACTIVE_YET = {
    "PENDING": "Nobody has approved this account yet: POST /users/{id}/approve does, or POST /users/{id}/reject.",
    "REJECTED": "This account was rejected: POST /users/{id}/approve makes it active after all.",
    "INVITED": "The invitation is still open: the account becomes active when its person accepts it.",
}


def is_full_admin(*, role: str, role_id: UUID | None, status: str, denied: Collection[str]) -> bool:
    """Whether somebody can do everything, and so give anybody any right again. Every organisation keeps one."""
    return role == Role.ADMIN and role_id is None and status == "ACTIVE" and not denied


def raises(before: tuple[Collection[str], Collection[str]], after: tuple[Collection[str], Collection[str]]) -> bool:
    """Whether of what somebody is granted and denied, the second pair could ever give more than the first.

    A grant of what the role already gives is one, too: it would outlast the role.
    """
    (granted, denied), (granted_then, denied_then) = before, after
    return not set(granted_then) <= set(granted) or not set(denied) <= set(denied_then)


def may_act_on(theirs: Permissions, own: Permissions, *, on_oneself: bool) -> bool:
    """Whether somebody with `own` may change, approve, suspend or erase somebody with these permissions."""
    return on_oneself or not exceeds(theirs, own)


def why_not_active_yet(status: str) -> str:
    """What has to happen before an account can be suspended or reactivated."""
    return _NOT_ACTIVE_YET[status]


def erased_email(unique: UUID) -> str:
    """What stands in place of an erased person's e-mail: no mail ever arrives there (RFC 2606)."""
    return f"erased-{unique}@erased.invalid"


def words_wanted(text: str) -> list[str]:
    """The beginnings of words that somebody is looked for by, each as they are stored.

    A part that looks like an e-mail is looked for as a whole. What a longer one implies is left out.
    """
    found: set[str] = set()
    for part in folded(text).split():
        local, at, domain = part.partition("@")
        found |= {part} if local and at and domain else set(_WORDS.findall(part))
    cut = {word[:MAX_WORD_LENGTH] for word in found}
    return sorted(word for word in cut if not any(other != word and other.startswith(word) for other in cut))


def end_of(beginning: str) -> str:
    """What is greater than every word that begins so, in the order of code points."""
    return beginning + chr(0x10FFFF)

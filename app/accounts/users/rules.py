"""The rules about users, as pure functions."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from app.access.permissions import RoleKind
from app.core.fields import ERASED_DOMAIN
from app.core.words import fold, split_words

MAX_WORD_LENGTH = 64


class AccountStatus(StrEnum):
    """Where somebody stands. Only who is `ACTIVE` can act."""

    ACTIVE = "ACTIVE"
    PENDING = "PENDING"  # signed up, and waits for an admin's approval
    REJECTED = "REJECTED"
    INVITED = "INVITED"  # until they have set a password
    SUSPENDED = "SUSPENDED"
    ERASED = "ERASED"  # what is left of a row that tickets refer to


class UserStatus(StrEnum):
    """The same, as it is shown and asked for: nobody finds who was erased."""

    ACTIVE = AccountStatus.ACTIVE
    PENDING = AccountStatus.PENDING
    REJECTED = AccountStatus.REJECTED
    INVITED = AccountStatus.INVITED
    SUSPENDED = AccountStatus.SUSPENDED


def erased_email(user_id: UUID) -> str:
    """What stands in place of an erased user's e-mail."""
    return f"erased-{user_id}@{ERASED_DOMAIN}"


def is_somebodys(email: str) -> bool:
    """Whether there is anybody to write to at this address."""
    return not email.endswith(f"@{ERASED_DOMAIN}")


def status_of_sign_up(role: RoleKind) -> AccountStatus:
    """Where whoever signs up by themselves stands at first: all but customers wait for an admin's approval."""
    return AccountStatus.ACTIVE if role == RoleKind.CUSTOMER else AccountStatus.PENDING


def words_of(*texts: str) -> set[str]:
    """The words that somebody is found by: of names and of an e-mail, folded; and each text that is one, as a whole."""
    found: set[str] = set()
    for text in texts:
        bare = fold(text)
        found |= {word[:MAX_WORD_LENGTH] for word in split_words(bare)}
        if " " not in bare:
            found.add(bare[:MAX_WORD_LENGTH])
    return found - {""}

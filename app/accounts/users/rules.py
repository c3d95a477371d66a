"""The rules about users, as pure functions."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from uuid import UUID

from app.access.user_permissions import RoleKind
from app.core.email_addresses import RESERVED_EMAIL_DOMAIN
from app.core.words import index_name, index_words
from app.organisations.rules import refuse_url

# What an erased user is called.
ANONYMOUS_FIRST_NAME = "Erased"
ANONYMOUS_LAST_NAME = "user"


class AccountStatus(StrEnum):
    """The status of an account. Only users who are `ACTIVE` can act."""

    ACTIVE = "ACTIVE"
    PENDING = "PENDING"  # signed up, and waits for an admin's approval
    REJECTED = "REJECTED"
    INVITED = "INVITED"  # has no password yet
    SUSPENDED = "SUSPENDED"
    ERASED = "ERASED"  # the row stays, because tickets refer to it


class UserStatus(StrEnum):
    """The status of an account as requests and responses have it: an `AccountStatus` other than `ERASED`."""

    ACTIVE = AccountStatus.ACTIVE
    PENDING = AccountStatus.PENDING
    REJECTED = AccountStatus.REJECTED
    INVITED = AccountStatus.INVITED
    SUSPENDED = AccountStatus.SUSPENDED


APPROVABLE = frozenset({AccountStatus.PENDING, AccountStatus.REJECTED})
# The statuses that `PATCH /users/{id}` switches between.
SETTLED = frozenset({AccountStatus.ACTIVE, AccountStatus.SUSPENDED})


def status_of_sign_up(role_kind: RoleKind) -> AccountStatus:
    """Return the initial status of a user who signs up without an invitation: all but customers wait for approval."""
    return AccountStatus.ACTIVE if role_kind == RoleKind.CUSTOMER else AccountStatus.PENDING


def can_be_available(role_kind: RoleKind) -> bool:
    """Return whether users of this kind may be available for tickets: customers are never assigned any."""
    return role_kind != RoleKind.CUSTOMER


def is_requesters_account(status: AccountStatus, *, verified: bool) -> bool:
    """Return whether an account with a requester's address belongs to the requester. If so, tickets are linked to it.

    The address must be verified: a user who signs up with the address of another person must not see their tickets.
    """
    return status == AccountStatus.ACTIVE and verified


def gives_way(role_kind: RoleKind, status: AccountStatus) -> bool:
    """Return whether a sign-up that never proved its e-mail is erased when an admin gives the address to a user."""
    return role_kind == RoleKind.CUSTOMER or status in APPROVABLE


# --- permissions -----------------------------------------------------------------------------------------------------


def is_full_admin(*, role_kind: RoleKind, role_id: UUID | None, status: str, denied: Collection[str]) -> bool:
    """Return whether a user has every permission, and so can grant any. Every organisation keeps one such user."""
    return role_kind == RoleKind.ADMIN and role_id is None and status == AccountStatus.ACTIVE and not denied


def can_raise_permissions(
    before: tuple[Collection[str], Collection[str]], after: tuple[Collection[str], Collection[str]]
) -> bool:
    """Return whether replacing a user's overrides (granted and denied permissions) could ever allow the user more.

    A new grant counts even if the role allows the same: it would outlast the role.
    """
    (granted, denied), (granted_after, denied_after) = before, after
    return not set(granted_after) <= set(granted) or not set(denied) <= set(denied_after)


# --- e-mail addresses ------------------------------------------------------------------------------------------------


def erased_email(user_id: UUID) -> str:
    """Return the address that replaces an erased user's."""
    return f"erased-{user_id}@{RESERVED_EMAIL_DOMAIN}"


# --- names -----------------------------------------------------------------------------------------------------------


def refuse_url_as_name(name: str) -> str:
    """Return a user's first or last name unchanged.

    Raises:
        ValueError: a mail program would make a link of it, or of a part.
    """
    return refuse_url(name, may_have_initials=True)


# --- search ----------------------------------------------------------------------------------------------------------


def search_words(first_name: str, last_name: str, email: str) -> list[str]:
    """Return the words that find a user, sorted."""
    return sorted({*index_name(first_name, last_name), *index_words(email)})

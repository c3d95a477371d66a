"""The rules about full admins and permission overrides."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.accounts.users.errors import NotActiveYet
from app.accounts.users.rules import (
    SETTLED,
    AccountStatus,
    UserStatus,
    can_raise_permissions,
    erased_email,
    is_full_admin,
)
from app.accounts.users.schemas import UserUpdate
from app.core.email_addresses import is_deliverable, refuse_reserved_email

FULL_ADMIN: dict[str, Any] = {"role_kind": "ADMIN", "role_id": None, "status": "ACTIVE", "denied": []}


def test_an_active_admin_with_nothing_denied_is_a_full_admin() -> None:
    assert is_full_admin(**FULL_ADMIN)


@pytest.mark.parametrize(
    "difference",
    [
        {"role_kind": "ENGINEER"},
        {"role_kind": "CUSTOMER"},
        {"role_id": UUID(int=1)},
        {"denied": ["keys:delete"]},
        *({"status": status} for status in ("PENDING", "REJECTED", "INVITED", "SUSPENDED", "ERASED")),
    ],
)
def test_no_other_user_is_a_full_admin(difference: dict[str, Any]) -> None:
    assert not is_full_admin(**FULL_ADMIN | difference)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (([], []), ([], []), False),
        (([], []), (["keys:view"], []), True),
        ((["keys:view"], []), (["keys:view"], []), False),
        ((["keys:view"], []), ([], []), False),
        (([], ["keys:view"]), ([], []), True),
        (([], []), ([], ["keys:view"]), False),
        ((["keys:view"], ["org:view"]), ([], ["org:view", "keys:view"]), False),
        ((["keys:view"], ["org:view"]), (["keys:update"], ["org:view"]), True),
    ],
)
def test_more_grants_or_fewer_denials_raise_permissions(
    before: tuple[list[str], list[str]], after: tuple[list[str], list[str]], expected: bool
) -> None:
    assert can_raise_permissions(before, after) is expected


@pytest.mark.parametrize("status", sorted(set(AccountStatus) - SETTLED - {AccountStatus.ERASED}))
def test_the_refusal_for_every_unsettled_status_says_what_to_do(status: AccountStatus) -> None:
    assert NotActiveYet(status).detail


def test_the_address_of_an_erased_user_is_not_deliverable() -> None:
    assert erased_email(UUID(int=7)) == "erased-00000000-0000-0000-0000-000000000007@erased.invalid"
    assert not is_deliverable(erased_email(UUID(int=7)))
    with pytest.raises(ValueError, match="reserved"):
        refuse_reserved_email("ada@erased.invalid")
    assert is_deliverable("ada@not-erased.invalid")


def test_clients_see_every_status_but_erased_and_switch_between_the_settled_ones() -> None:
    assert {status.value for status in UserStatus} == set(AccountStatus) - {AccountStatus.ERASED}
    sendable = {status for status in AccountStatus if not is_refused(status)}
    assert sendable == SETTLED


def is_refused(status: AccountStatus) -> bool:
    try:
        UserUpdate.model_validate({"status": status.value})
    except ValueError:
        return True
    return False

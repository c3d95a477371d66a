"""Who may do what to whom, and how users are looked for: the rules alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.accounts.users.errors import NotActiveYet
from app.accounts.users.rules import (
    SETTLED,
    AccountStatus,
    can_raise_permissions,
    erased_email,
    is_deliverable,
    is_full_admin,
    prefix_upper_bound,
    query_terms,
    search_words,
)

FULL: dict[str, Any] = {"role_kind": "ADMIN", "role_id": None, "status": "ACTIVE", "denied": []}


def test_an_active_admin_who_is_denied_nothing_is_a_full_one() -> None:
    assert is_full_admin(**FULL)


@pytest.mark.parametrize(
    "but",
    [
        {"role_kind": "ENGINEER"},
        {"role_kind": "CUSTOMER"},
        {"role_id": UUID(int=1)},
        {"denied": ["keys:delete"]},
        *({"status": status} for status in ("PENDING", "REJECTED", "INVITED", "SUSPENDED", "ERASED")),
    ],
)
def test_anybody_else_is_not(but: dict[str, Any]) -> None:
    assert not is_full_admin(**FULL | but)


@pytest.mark.parametrize(
    ("before", "after", "is_more"),
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
def test_more_grants_or_fewer_denials_are_more_rights(
    before: tuple[list[str], list[str]], after: tuple[list[str], list[str]], is_more: bool
) -> None:
    assert can_raise_permissions(before, after) is is_more


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada", ["ada"]),
        ("  ada   LOVE ", ["ada", "love"]),
        ("Ångström", ["angstrom"]),
        ("O'Neill-Smith", ["neill", "o", "smith"]),
        ("ada@growfin.com", ["ada@growfin.com"]),
        ("ada@grow", ["ada@grow"]),
        ("@growfin", ["growfin"]),
        ("ada@", ["ada"]),
        ("ad ada adam", ["adam"]),
        ("ada ada", ["ada"]),
        ("first_last", ["first", "last"]),
        ("!?* _", []),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_what_is_typed_is_taken_apart_into_beginnings_of_words(text: str, words: list[str]) -> None:
    assert query_terms(text) == words


@pytest.mark.parametrize("text", ["Ada Lovelace", "Ångström O'Neill", "first.last+tag@sub.growfin.com", "李小龍", "x²"])
def test_a_name_and_an_email_are_found_by_themselves(text: str) -> None:
    stored = search_words(text)
    for wanted in query_terms(text):
        assert any(wanted <= word < prefix_upper_bound(wanted) for word in stored)


@pytest.mark.parametrize("status", sorted(set(AccountStatus) - SETTLED - {AccountStatus.ERASED}))
def test_every_status_that_is_not_settled_says_what_to_do(status: AccountStatus) -> None:
    assert NotActiveYet(status).detail


def test_an_erased_address_is_one_of_nobody() -> None:
    assert erased_email(UUID(int=7)) == "erased-00000000-0000-0000-0000-000000000007@erased.invalid"
    assert not is_deliverable(erased_email(UUID(int=7)))
    assert is_deliverable("ada@not-erased.invalid")

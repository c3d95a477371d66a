"""The rules about menus, without a database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.permissions import ALL, Action, Permissions, Resource, permission
from app.menus import rules
from app.menus.rules import Branch, Entry, Viewer, checked_address

ME, OTHER = UUID(int=1), UUID(int=2)
MY_ROLE, OTHER_ROLE = UUID(int=11), UUID(int=12)
A, B, C, D, E = (UUID(int=100 + n) for n in range(5))


def an_entry(entry_id: UUID = A, parent_id: UUID | None = None, **fields: Any) -> Entry:
    said: dict[str, Any] = {
        "name": f"Entry {entry_id.int}", "url": "/somewhere", "icon": None, "position": 1, "resource": None,
        "create_url": None, "list_url": None,
    }  # fmt: skip
    return Entry(id=entry_id, parent_id=parent_id, **(said | fields))


def seen(*entries: Entry, permissions: Permissions = ALL) -> tuple[Branch, ...]:
    return rules.menu_of(Viewer(ME, MY_ROLE, permissions), entries)


def outline(branches: tuple[Branch, ...]) -> list[object]:
    """Ids, each with those below it."""
    return [(branch.entry.id, outline(branch.below)) if branch.below else branch.entry.id for branch in branches]


# --- who sees what ----------------------------------------------------------------------------------------------------


def test_an_entry_without_a_resource_is_for_everybody_to_view() -> None:
    (branch,) = seen(an_entry(), permissions=frozenset())
    assert branch.actions == {Action.VIEW}


def test_an_entry_with_a_resource_says_what_may_be_done_with_it() -> None:
    may = frozenset({"tickets:view", "tickets:delete", "users:create"})
    (branch,) = seen(an_entry(resource="tickets"), an_entry(B, resource="users"), permissions=may)
    assert branch.entry.id == A
    assert branch.actions == {Action.VIEW, Action.DELETE}


def test_a_resource_that_is_not_known_is_nobodys() -> None:
    assert seen(an_entry(resource="teapots")) == ()


def test_what_is_hidden_for_others_is_seen() -> None:
    entry = an_entry(hidden_for_roles=[OTHER_ROLE], hidden_for_users=[OTHER])
    assert outline(seen(entry)) == [A]


@pytest.mark.parametrize("hidden", [{"hidden_for_roles": [OTHER_ROLE, MY_ROLE]}, {"hidden_for_users": [OTHER, ME]}])
def test_what_is_hidden_for_somebody_or_their_role_is_not_seen(hidden: dict[str, Any]) -> None:
    assert seen(an_entry(**hidden)) == ()


def test_what_is_below_a_hidden_entry_is_hidden_with_it() -> None:
    hidden = an_entry(hidden_for_users=[ME])
    assert outline(seen(hidden, an_entry(B, A), an_entry(C, B), an_entry(D))) == [D]


def test_a_heading_is_seen_only_with_something_below_it() -> None:
    headings = [an_entry(A, url=None), an_entry(B, A, url=None)]
    below = an_entry(C, B, resource="users")
    assert seen(*headings) == ()
    assert seen(*headings, below, permissions=frozenset()) == ()
    assert outline(seen(*headings, below)) == [(A, [(B, [C])])]


def test_an_entry_that_has_a_resource_needs_no_address() -> None:
    assert outline(seen(an_entry(url=None, resource="users"))) == [A]


def test_entries_are_in_the_order_of_their_positions_and_then_names() -> None:
    entries = (
        an_entry(A, position=2, name="A"), an_entry(B, position=1, name="Z"), an_entry(C, position=1, name="B"),
        an_entry(D, A, position=7), an_entry(E, A, position=3),
    )  # fmt: skip
    assert outline(seen(*entries)) == [C, B, (A, [E, D])]


IDS = [UUID(int=100 + n) for n in range(8)]
some = st.sampled_from


@st.composite
def forests(draw: st.DrawFn) -> list[Entry]:
    """Entries in any arrangement, such as no request can make as well: cycles, and parents that are not there."""
    ids = draw(st.lists(some(IDS), unique=True))
    return [
        an_entry(
            entry_id,
            draw(st.none() | some(IDS)),
            name=draw(some(["A", "B"])),
            url=draw(some([None, "/somewhere"])),
            position=draw(st.integers(0, 2)),
            resource=draw(st.none() | some(["tickets", "users"])),
            hidden_for_roles=draw(st.lists(some([MY_ROLE, OTHER_ROLE]), max_size=1)),
            hidden_for_users=draw(st.lists(some([ME, OTHER]), max_size=1)),
        )
        for entry_id in ids
    ]


def _walk(branches: tuple[Branch, ...], parent_id: UUID | None = None) -> Iterator[tuple[Branch, UUID | None]]:
    for branch in branches:
        yield branch, parent_id
        yield from _walk(branch.below, branch.entry.id)


def _is_reachable(entry: Entry, entries: dict[UUID, Entry], permissions: Permissions) -> bool:
    """Whether nothing, from an entry to the top, is in somebody's way: said once more, in another way."""
    passed = set()
    at: Entry | None = entry
    while at is not None and at.id not in passed:
        passed.add(at.id)
        may = at.resource is None or permission(Resource(at.resource), Action.VIEW) in permissions
        if not may or MY_ROLE in at.hidden_for_roles or ME in at.hidden_for_users:
            return False
        if at.parent_id is None:
            return True
        at = entries.get(at.parent_id)
    return False


permission_sets = st.frozensets(some(["tickets:view", "tickets:create", "users:view", "users:delete"]))


@given(forests(), permission_sets)
def test_nothing_is_ever_seen_without_its_permission(entries: list[Entry], permissions: Permissions) -> None:
    found = list(_walk(seen(*entries, permissions=permissions)))
    for branch, parent_id in found:
        entry = branch.entry
        assert entry.parent_id == parent_id  # which is seen, too
        assert entry.resource is None or f"{entry.resource}:view" in permissions
        assert MY_ROLE not in entry.hidden_for_roles
        assert ME not in entry.hidden_for_users
        assert entry.url or entry.resource or branch.below
        assert all(f"{entry.resource}:{action.value}" in permissions for action in branch.actions if entry.resource)
        assert branch.actions == {Action.VIEW} or entry.resource is not None
        places = [(one.entry.position, one.entry.name) for one in branch.below]
        assert places == sorted(places)
    assert len({branch.entry.id for branch, _ in found}) == len(found)


@given(forests(), permission_sets)
def test_all_that_leads_somewhere_is_seen_unless_something_is_in_the_way(
    entries: list[Entry], permissions: Permissions
) -> None:
    found = {branch.entry.id for branch, _ in _walk(seen(*entries, permissions=permissions))}
    by_id = {entry.id: entry for entry in entries}
    expected = {entry.id for entry in entries if _is_reachable(entry, by_id, permissions)}
    assert found <= expected
    assert {entry_id for entry_id in expected if by_id[entry_id].url or by_id[entry_id].resource} <= found


# --- the tree ---------------------------------------------------------------------------------------------------------

PARENTS = {A: None, B: A, C: B, D: A, E: None}


@pytest.mark.parametrize(("entry", "depth", "height"), [(A, 1, 3), (B, 2, 2), (C, 3, 1), (D, 2, 1), (E, 1, 1)])
def test_depth_is_counted_from_the_top_and_height_from_below(entry: UUID, depth: int, height: int) -> None:
    assert (rules.depth_of(PARENTS, entry), rules.height_of(PARENTS, entry)) == (depth, height)


def test_nothing_has_no_depth() -> None:
    assert rules.depth_of(PARENTS, None) == 0


@pytest.mark.parametrize(
    ("entry", "top", "within"), [(A, A, True), (C, A, True), (A, C, False), (E, A, False), (None, A, False)]
)
def test_an_entry_is_within_itself_and_all_above_it(entry: UUID | None, top: UUID, within: bool) -> None:
    assert rules.is_within(PARENTS, entry, top) is within


@pytest.mark.parametrize(("beside", "place"), [([], 1), ([0], 1), ([3, 1], 4), ([10_000], 10_000)])
def test_the_next_place_is_after_all_others(beside: list[int], place: int) -> None:
    assert rules.next_position(beside) == place


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "good",
    [
        "/", "/tickets", "/tickets/new?status=OPEN&tag=a#top", "/größe", "/tickets/{id}", "https://growfin.com",
        "http://localhost:3000/tickets", "HTTPS://Growfin.com/A", "https://[::1]:8443/", "/a//b", "https://größe.example/",
    ],
)  # fmt: skip
def test_paths_and_web_addresses_are_fine(good: str) -> None:
    assert checked_address(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "", "tickets", "./tickets", "?a=b", "#top", "//evil.example", "///evil.example",
        "/\\evil.example", "\\\\evil.example",
        "/\t/evil.example", "\n//evil.example", "/a b", "/a\u00a0b", "/a\u200bb", "/\u202eexe", "javascript:alert(1)",
        "JavaScript:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)",
        "data:text/html,hi", "vbscript:x", "file:///etc/passwd", "ftp://growfin.com", "mailto:ada@growfin.com",
        "blob:https://growfin.com/1", "https:growfin.com", "https:/growfin.com", "https://", "https:///path",
        "http://:80/", "https://growfin.com:99999/", "https://growfin.com:0/", "https://growfin.com:x/",
        "https://growfin.com@evil.example/", "https://user:word@growfin.com/", "https://[::1/", "https://evil.example\\@a/",
        '/"onmouseover=', "/<b>", "/`", "/a\0", "/\ud800",
    ],
)  # fmt: skip
def test_whatever_else_an_address_could_be_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="address"):
        checked_address(bad)


@given(st.text(alphabet=st.sampled_from("/\\:.@#? \t\njavscriptdthp"), max_size=20))
def test_no_address_has_a_scheme_or_a_host_that_it_does_not_show(text: str) -> None:
    try:
        address = checked_address(text)
    except ValueError:
        return
    is_path = address.startswith("/") and address[1:2] not in {"/", "\\"}
    assert is_path or address.startswith(("http://", "https://"))
    assert not set(address) & set("\t\n\\ ")

"""The rules of menus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.user_permissions import ALL, Action, Permissions, Resource, permission
from app.menus import rules
from app.menus.rules import Entry, MenuNode, Viewer, validate_url

ME, OTHER = UUID(int=1), UUID(int=2)
MY_ROLE, OTHER_ROLE = UUID(int=11), UUID(int=12)
A, B, C, D, E = (UUID(int=100 + n) for n in range(5))


def make_entry(entry_id: UUID = A, parent_id: UUID | None = None, **fields: Any) -> Entry:
    defaults: dict[str, Any] = {
        "name": f"Entry {entry_id.int}", "url": "/somewhere", "icon": None, "position": 1, "resource": None,
        "create_url": None, "list_url": None,
    }  # fmt: skip
    return Entry(id=entry_id, parent_id=parent_id, **(defaults | fields))


def visible_menu(*entries: Entry, permissions: Permissions = ALL) -> tuple[MenuNode, ...]:
    return rules.build_menu(Viewer(ME, MY_ROLE, permissions), entries)


def outline(nodes: tuple[MenuNode, ...]) -> list[object]:
    """Return the ids, each with those of its children."""
    return [(node.entry.id, outline(node.children)) if node.children else node.entry.id for node in nodes]


# --- visibility -------------------------------------------------------------------------------------------------------


def test_an_entry_without_a_resource_is_visible_to_everyone() -> None:
    (node,) = visible_menu(make_entry(), permissions=frozenset())
    assert node.actions == {Action.VIEW}


def test_an_entry_with_a_resource_lists_the_permitted_actions() -> None:
    permissions = frozenset({"tickets:view", "tickets:delete", "users:create"})
    (node,) = visible_menu(make_entry(resource="tickets"), make_entry(B, resource="users"), permissions=permissions)
    assert node.entry.id == A
    assert node.actions == {Action.VIEW, Action.DELETE}


def test_an_entry_with_an_unknown_resource_is_invisible() -> None:
    assert visible_menu(make_entry(resource="teapots")) == ()


def test_an_entry_hidden_for_others_is_visible() -> None:
    entry = make_entry(hidden_for_roles=[OTHER_ROLE], hidden_for_users=[OTHER])
    assert outline(visible_menu(entry)) == [A]


@pytest.mark.parametrize("hidden", [{"hidden_for_roles": [OTHER_ROLE, MY_ROLE]}, {"hidden_for_users": [OTHER, ME]}])
def test_an_entry_hidden_for_the_user_or_role_is_invisible(hidden: dict[str, Any]) -> None:
    assert visible_menu(make_entry(**hidden)) == ()


def test_descendants_of_a_hidden_entry_are_invisible() -> None:
    hidden = make_entry(hidden_for_users=[ME])
    assert outline(visible_menu(hidden, make_entry(B, A), make_entry(C, B), make_entry(D))) == [D]


def test_a_heading_is_visible_only_with_visible_children() -> None:
    headings = [make_entry(A, url=None), make_entry(B, A, url=None)]
    below = make_entry(C, B, resource="users")
    assert visible_menu(*headings) == ()
    assert visible_menu(*headings, below, permissions=frozenset()) == ()
    assert outline(visible_menu(*headings, below)) == [(A, [(B, [C])])]


def test_an_entry_with_a_resource_needs_no_url() -> None:
    assert outline(visible_menu(make_entry(url=None, resource="users"))) == [A]


def test_entries_are_sorted_by_position_and_name() -> None:
    entries = (
        make_entry(A, position=2, name="A"), make_entry(B, position=1, name="Z"), make_entry(C, position=1, name="B"),
        make_entry(D, A, position=7), make_entry(E, A, position=3),
    )  # fmt: skip
    assert outline(visible_menu(*entries)) == [C, B, (A, [E, D])]


IDS = [UUID(int=100 + n) for n in range(8)]


@st.composite
def forests(draw: st.DrawFn) -> list[Entry]:
    """Generate entries in any arrangement, including impossible ones: cycles and missing parents."""
    ids = draw(st.lists(st.sampled_from(IDS), unique=True))
    return [
        make_entry(
            entry_id,
            draw(st.none() | st.sampled_from(IDS)),
            name=draw(st.sampled_from(["A", "B"])),
            url=draw(st.sampled_from([None, "/somewhere"])),
            position=draw(st.integers(0, 2)),
            resource=draw(st.none() | st.sampled_from(["tickets", "users"])),
            hidden_for_roles=draw(st.lists(st.sampled_from([MY_ROLE, OTHER_ROLE]), max_size=1)),
            hidden_for_users=draw(st.lists(st.sampled_from([ME, OTHER]), max_size=1)),
        )
        for entry_id in ids
    ]


def _walk(nodes: tuple[MenuNode, ...], parent_id: UUID | None = None) -> Iterator[tuple[MenuNode, UUID | None]]:
    for node in nodes:
        yield node, parent_id
        yield from _walk(node.children, node.entry.id)


def _is_reachable(entry: Entry, entries: dict[UUID, Entry], permissions: Permissions) -> bool:
    """Return whether the entry and all its ancestors are visible: an independent implementation."""
    visited = set()
    current: Entry | None = entry
    while current is not None and current.id not in visited:
        visited.add(current.id)
        is_permitted = current.resource is None or permission(Resource(current.resource), Action.VIEW) in permissions
        if not is_permitted or MY_ROLE in current.hidden_for_roles or ME in current.hidden_for_users:
            return False
        if current.parent_id is None:
            return True
        current = entries.get(current.parent_id)
    return False


permission_sets = st.frozensets(st.sampled_from(["tickets:view", "tickets:create", "users:view", "users:delete"]))


@given(forests(), permission_sets)
def test_no_entry_is_visible_without_its_permission(entries: list[Entry], permissions: Permissions) -> None:
    found = list(_walk(visible_menu(*entries, permissions=permissions)))
    for node, parent_id in found:
        entry = node.entry
        assert entry.parent_id == parent_id  # the parent is visible, too
        assert entry.resource is None or f"{entry.resource}:view" in permissions
        assert MY_ROLE not in entry.hidden_for_roles
        assert ME not in entry.hidden_for_users
        assert entry.url or entry.resource or node.children
        assert all(f"{entry.resource}:{action.value}" in permissions for action in node.actions if entry.resource)
        assert node.actions == {Action.VIEW} or entry.resource is not None
        places = [(one.entry.position, one.entry.name) for one in node.children]
        assert places == sorted(places)
    assert len({node.entry.id for node, _ in found}) == len(found)


@given(forests(), permission_sets)
def test_every_entry_with_a_url_or_resource_is_visible_unless_an_ancestor_is_not(
    entries: list[Entry], permissions: Permissions
) -> None:
    found = {node.entry.id for node, _ in _walk(visible_menu(*entries, permissions=permissions))}
    by_id = {entry.id: entry for entry in entries}
    expected = {entry.id for entry in entries if _is_reachable(entry, by_id, permissions)}
    assert found <= expected
    assert {entry_id for entry_id in expected if by_id[entry_id].url or by_id[entry_id].resource} <= found


# --- the tree ---------------------------------------------------------------------------------------------------------

PARENTS = {A: None, B: A, C: B, D: A, E: None}


@pytest.mark.parametrize(("entry", "depth", "height"), [(A, 1, 3), (B, 2, 2), (C, 3, 1), (D, 2, 1), (E, 1, 1)])
def test_depth_and_height_of_an_entry(entry: UUID, depth: int, height: int) -> None:
    assert (rules.compute_depth(PARENTS, entry), rules.compute_height(PARENTS, entry)) == (depth, height)


def test_depth_of_none_is_zero() -> None:
    assert rules.compute_depth(PARENTS, None) == 0


@pytest.mark.parametrize(
    ("entry", "top", "within"), [(A, A, True), (C, A, True), (A, C, False), (E, A, False), (None, A, False)]
)
def test_an_entry_is_in_its_own_subtree_and_in_those_of_its_ancestors(
    entry: UUID | None, top: UUID, within: bool
) -> None:
    assert rules.is_in_subtree(PARENTS, entry, top) is within


@pytest.mark.parametrize(("siblings", "position"), [([], 1), ([0], 1), ([3, 1], 4), ([10_000], 10_000)])
def test_the_next_position_is_after_all_siblings(siblings: list[int], position: int) -> None:
    assert rules.next_position(siblings) == position


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "valid",
    [
        "/", "/tickets", "/tickets/new?status=OPEN&tag=a#top", "/größe", "/tickets/{id}", "https://growfin.com",
        "http://localhost:3000/tickets", "HTTPS://Growfin.com/A", "https://[::1]:8443/", "/a//b", "https://größe.example/",
    ],
)  # fmt: skip
def test_paths_and_web_urls_are_valid(valid: str) -> None:
    assert validate_url(valid) == valid


@pytest.mark.parametrize(
    "invalid",
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
def test_any_other_url_is_rejected(invalid: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        validate_url(invalid)


@given(st.text(alphabet=st.sampled_from("/\\:.@#? \t\njavscriptdthp"), max_size=20))
def test_a_valid_url_has_no_hidden_scheme_or_host(text: str) -> None:
    try:
        url = validate_url(text)
    except ValueError:
        return
    is_path = url.startswith("/") and url[1:2] not in {"/", "\\"}
    assert is_path or url.startswith(("http://", "https://"))
    assert not set(url) & set("\t\n\\ ")

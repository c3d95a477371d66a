"""The rules of menus, as pure functions: valid URLs, the shape of the tree, and which entries a user sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from app.access.user_permissions import Action, Permissions

MAX_DEPTH = 4  # levels
MAX_MENU_ENTRIES = 500  # entries per organisation
MAX_POSITION = 10_000
FORBIDDEN_URL_CHARACTERS = frozenset(' \\"<>`')

# Maps the id of an entry to the id of its parent.
Parents = Mapping[UUID, UUID | None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A menu entry, with the fields that decide who sees it."""

    id: UUID
    parent_id: UUID | None
    name: str
    url: str | None
    icon: str | None
    position: int
    resource: str | None
    create_url: str | None
    list_url: str | None
    hidden_for_roles: Sequence[UUID] = ()
    hidden_for_users: Sequence[UUID] = ()


@dataclass(frozen=True)
class Viewer:
    """The user for whom a menu is built. `role_id` may be the id of a built-in role."""

    id: UUID
    role_id: UUID
    permissions: Permissions


@dataclass(frozen=True)
class MenuNode:
    """An entry as a user sees it: with the actions permitted on its resource, and its visible children."""

    entry: Entry
    actions: frozenset[Action]
    children: tuple[MenuNode, ...]


def validate_url(value: str) -> str:
    """Validate that a URL is safe to link to: a path `/…`, or an absolute URL of http or https.

    Raises:
        ValueError: The URL is anything else, such as a script or a disguised URL of another host.
    """
    # Browsers skip tabs and newlines, and treat a backslash as a slash: `/\\host` would lead to another host.
    if any(character in FORBIDDEN_URL_CHARACTERS or not character.isprintable() for character in value):
        raise ValueError("A URL cannot contain spaces, quotes, backslashes or angle brackets.")
    if value.startswith("/") and not value.startswith("//"):
        return value
    try:
        parts = urlsplit(value)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web or "@" in parts.netloc:
        raise ValueError("This is neither a path such as /tickets nor a URL that starts with http:// or https://.")
    return value


def compute_depth(parents: Parents, entry_id: UUID | None) -> int:
    """Return the level of an entry: 1 at the top, 0 for `None`."""
    depth = 0
    while entry_id is not None:
        depth += 1
        entry_id = parents[entry_id]
    return depth


def compute_height(parents: Parents, entry_id: UUID) -> int:
    """Return the number of levels of an entry's subtree: 1 for an entry without children."""
    depth = compute_depth(parents, entry_id)
    subtree = (other for other in parents if is_in_subtree(parents, other, entry_id))
    return max(compute_depth(parents, other) for other in subtree) - depth + 1


def is_in_subtree(parents: Parents, entry_id: UUID | None, root: UUID) -> bool:
    """Return whether an entry is `root` or one of its descendants."""
    while entry_id is not None:
        if entry_id == root:
            return True
        entry_id = parents[entry_id]
    return False


def next_position(positions: Iterable[int]) -> int:
    """Return the position after the given ones."""
    return min(max(positions, default=0) + 1, MAX_POSITION)


def build_menu(viewer: Viewer, entries: Iterable[Entry]) -> tuple[MenuNode, ...]:
    """Build the menu of a user: entries whose resource they may view, and that are not hidden for them or their role.

    Descendants of an invisible entry are left out, and so is an entry with neither URL, resource nor visible children.
    """
    visible: dict[UUID | None, list[Entry]] = defaultdict(list)
    for entry in entries:
        if _is_visible(viewer, entry):
            visible[entry.parent_id].append(entry)

    def build_nodes(parent_id: UUID | None) -> tuple[MenuNode, ...]:
        nodes = []
        for entry in sorted(visible[parent_id], key=lambda entry: (entry.position, entry.name, entry.id)):
            children = build_nodes(entry.id)
            if children or entry.resource is not None or entry.url is not None:
                nodes.append(MenuNode(entry, _allowed_actions(viewer, entry), children))
        return tuple(nodes)

    return build_nodes(None)


def _is_visible(viewer: Viewer, entry: Entry) -> bool:
    is_hidden = viewer.role_id in entry.hidden_for_roles or viewer.id in entry.hidden_for_users
    return not is_hidden and Action.VIEW in _allowed_actions(viewer, entry)


def _allowed_actions(viewer: Viewer, entry: Entry) -> frozenset[Action]:
    if entry.resource is None:
        return frozenset({Action.VIEW})
    return frozenset(action for action in Action if f"{entry.resource}:{action.value}" in viewer.permissions)

"""The rules about menus, as pure functions: which addresses they lead to, where an entry may stand, who sees it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from app.access.permissions import Action, Permissions

MAX_DEPTH = 4
MAX_POSITION = 10_000
NOT_IN_ADDRESSES = frozenset(' \\"<>`')

# Each entry's parent.
Parents = Mapping[UUID, UUID | None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What decides who sees an entry, and what they see."""

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
    """Whose menu it is. `role_id` is of a built-in role, too."""

    id: UUID
    role_id: UUID
    permissions: Permissions


@dataclass(frozen=True)
class Branch:
    """An entry as somebody sees it: what they may do with its resource, and the entries below it."""

    entry: Entry
    actions: frozenset[Action]
    below: tuple[Branch, ...]


def checked_address(value: str) -> str:
    """An address that a front end can follow safely: `/…` of its own, or an absolute one of http or https.

    Raises:
        ValueError: it is another one, such as a script or a disguised address of somebody else's.
    """
    # Browsers skip tabs and newlines, and take a backslash for a slash: `/\\host` would be another host's.
    if any(character in NOT_IN_ADDRESSES or not character.isprintable() for character in value):
        raise ValueError("An address has no spaces, quotes, backslashes or angle brackets.")
    if value.startswith("/") and not value.startswith("//"):
        return value
    try:
        parts = urlsplit(value)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web or "@" in parts.netloc:
        raise ValueError("This is neither a path such as /tickets nor an address that begins with http:// or https://.")
    return value


def depth_of(parents: Parents, entry_id: UUID | None) -> int:
    """On which level an entry stands: 1 at the top, 0 for none at all."""
    depth = 0
    while entry_id is not None:
        depth += 1
        entry_id = parents[entry_id]
    return depth


def height_of(parents: Parents, entry_id: UUID) -> int:
    """How many levels an entry has with all that is below it: 1 when nothing is."""
    top = depth_of(parents, entry_id)
    return max(depth_of(parents, other) for other in parents if is_within(parents, other, entry_id)) - top + 1


def is_within(parents: Parents, entry_id: UUID | None, top: UUID) -> bool:
    """Whether an entry is `top`, or below it."""
    while entry_id is not None:
        if entry_id == top:
            return True
        entry_id = parents[entry_id]
    return False


def next_position(positions: Iterable[int]) -> int:
    """The place after these."""
    return min(max(positions, default=0) + 1, MAX_POSITION)


def menu_of(viewer: Viewer, entries: Iterable[Entry]) -> tuple[Branch, ...]:
    """What somebody sees: the entries whose resource they may view, that are not hidden for them or their role.

    What is below an entry is there only with it; an entry that leads nowhere itself is there only with something below.
    """
    children: dict[UUID | None, list[Entry]] = defaultdict(list)
    for entry in entries:
        if _may_see(viewer, entry):
            children[entry.parent_id].append(entry)

    def below(parent_id: UUID | None) -> tuple[Branch, ...]:
        found = []
        for entry in sorted(children[parent_id], key=lambda one: (one.position, one.name, one.id)):
            within = below(entry.id)
            if within or entry.resource is not None or entry.url is not None:
                found.append(Branch(entry, _actions(viewer, entry), within))
        return tuple(found)

    return below(None)


def _may_see(viewer: Viewer, entry: Entry) -> bool:
    is_hidden = viewer.role_id in entry.hidden_for_roles or viewer.id in entry.hidden_for_users
    return not is_hidden and Action.VIEW in _actions(viewer, entry)


def _actions(viewer: Viewer, entry: Entry) -> frozenset[Action]:
    if entry.resource is None:
        return frozenset({Action.VIEW})
    return frozenset(action for action in Action if f"{entry.resource}:{action.value}" in viewer.permissions)

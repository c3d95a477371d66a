"""Moving menu entries."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.menus.menus import create_chain, create_menu, read_menu
from tests.organisation_client import JSON, Desk, SignedInUser
from tests.problems import read_invalid_fields


async def move(user: SignedInUser, menu: JSON, parent: JSON | None) -> httpx.Response:
    return await user.patch(f"/menus/{menu['id']}", {"parentId": parent and parent["id"]})


async def test_descendants_move_with_an_entry(desk: Desk) -> None:
    one, two = await create_chain(desk.admin, 2)
    other = await create_menu(desk.admin, name="Other")
    answer = await move(desk.admin, one, other)
    assert (answer.status_code, answer.json()["parentId"]) == (200, other["id"])
    assert (await read_menu(desk.admin, two))["parentId"] == one["id"]
    assert (await move(desk.admin, one, None)).json()["parentId"] is None


async def test_a_menu_has_at_most_four_levels(desk: Desk) -> None:
    chain = await create_chain(desk.admin, 4)
    child = {"name": "Level 4", "parentId": chain[-1]["id"]}
    assert read_invalid_fields(await desk.admin.post("/menus", child), "menu_too_deep") == {"parentId"}


@pytest.mark.parametrize(
    ("depth", "height", "fits"), [(1, 3, True), (2, 2, True), (2, 3, False), (3, 2, False), (4, 1, False)]
)
async def test_a_move_counts_the_levels_of_the_whole_subtree(desk: Desk, depth: int, height: int, fits: bool) -> None:
    parents, subtree = await create_chain(desk.admin, depth), await create_chain(desk.admin, height)
    await create_menu(desk.admin, name="A short subtree", parentId=parents[0]["id"])
    answer = await move(desk.admin, subtree[0], parents[-1])
    if fits:
        assert answer.status_code == 200
    else:
        assert read_invalid_fields(answer, "menu_too_deep") == {"parentId"}
        assert (await read_menu(desk.admin, subtree[0]))["parentId"] is None


async def test_an_entry_cannot_be_moved_below_itself(desk: Desk) -> None:
    one, two, three = await create_chain(desk.admin, 3)
    for parent in (one, two, three):
        assert read_invalid_fields(await move(desk.admin, one, parent), "menu_cycle") == {"parentId"}
    assert (await move(desk.admin, three, one)).status_code == 200
    assert (await read_menu(desk.admin, one))["parentId"] is None


async def test_concurrent_moves_cannot_form_a_cycle(desk: Desk) -> None:
    for _ in range(5):
        entries = [await create_menu(desk.admin, name=f"Entry {number}") for number in range(3)]
        # Each move alone is valid; together they form a cycle.
        cycle = zip(entries, [*entries[1:], entries[0]], strict=True)
        answers = await asyncio.gather(*(move(desk.admin, menu, parent) for menu, parent in cycle))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 422]
        (loser,) = (answer for answer in answers if answer.status_code == 422)
        assert read_invalid_fields(loser, "menu_cycle") == {"parentId"}
        parents = {menu["id"]: (await read_menu(desk.admin, menu))["parentId"] for menu in entries}
        assert list(parents.values()).count(None) == 1


async def test_a_concurrent_move_and_new_child_cannot_exceed_the_depth(desk: Desk) -> None:
    for _ in range(5):
        target, (one, two) = await create_chain(desk.admin, 2), await create_chain(desk.admin, 2)
        # The subtree of two levels can be moved below two others, or can get a third level, but not both.
        answers = await asyncio.gather(
            move(desk.admin, one, target[-1]),
            desk.admin.post("/menus", {"name": "Level 2", "parentId": two["id"]}),
        )
        assert sorted(answer.is_success for answer in answers) == [False, True]
        (loser,) = (answer for answer in answers if not answer.is_success)
        read_invalid_fields(loser, "menu_too_deep")

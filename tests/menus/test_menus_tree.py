"""Moving what stands below something else."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.desks import JSON, Desk, SignedInUser
from tests.menus.test_menus import a_chain, made, read
from tests.problems import wrong_fields


async def move(user: SignedInUser, menu: JSON, parent: JSON | None) -> httpx.Response:
    return await user.patch(f"/menus/{menu['id']}", {"parentId": parent and parent["id"]})


async def test_what_is_below_an_entry_moves_along(desk: Desk) -> None:
    one, two = await a_chain(desk.admin, 2)
    other = await made(desk.admin, name="Other")
    answer = await move(desk.admin, one, other)
    assert (answer.status_code, answer.json()["parentId"]) == (200, other["id"])
    assert (await read(desk.admin, two))["parentId"] == one["id"]
    assert (await move(desk.admin, one, None)).json()["parentId"] is None


async def test_there_are_four_levels(desk: Desk) -> None:
    chain = await a_chain(desk.admin, 4)
    below = {"name": "Level 4", "parentId": chain[-1]["id"]}
    assert wrong_fields(await desk.admin.post("/menus", below), "menu_too_deep") == {"parentId"}


@pytest.mark.parametrize(
    ("above", "moved", "fits"), [(1, 3, True), (2, 2, True), (2, 3, False), (3, 2, False), (4, 1, False)]
)
async def test_a_move_counts_all_that_moves_along(desk: Desk, above: int, moved: int, fits: bool) -> None:
    parents, subtree = await a_chain(desk.admin, above), await a_chain(desk.admin, moved)
    await made(desk.admin, name="A short branch", parentId=parents[0]["id"])
    answer = await move(desk.admin, subtree[0], parents[-1])
    if fits:
        assert answer.status_code == 200
    else:
        assert wrong_fields(answer, "menu_too_deep") == {"parentId"}
        assert (await read(desk.admin, subtree[0]))["parentId"] is None


async def test_no_entry_can_be_below_itself(desk: Desk) -> None:
    one, two, three = await a_chain(desk.admin, 3)
    for below in (one, two, three):
        assert wrong_fields(await move(desk.admin, one, below), "menu_cycle") == {"parentId"}
    assert (await move(desk.admin, three, one)).status_code == 200
    assert (await read(desk.admin, one))["parentId"] is None


async def test_moves_at_the_same_moment_make_no_cycle(desk: Desk) -> None:
    for _ in range(5):
        entries = [await made(desk.admin, name=f"Entry {number}") for number in range(3)]
        # Each alone is fine; all together are a circle.
        circle = zip(entries, [*entries[1:], entries[0]], strict=True)
        answers = await asyncio.gather(*(move(desk.admin, menu, parent) for menu, parent in circle))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 422]
        (loser,) = (answer for answer in answers if answer.status_code == 422)
        assert wrong_fields(loser, "menu_cycle") == {"parentId"}
        parents = {menu["id"]: (await read(desk.admin, menu))["parentId"] for menu in entries}
        assert list(parents.values()).count(None) == 1


async def test_what_is_added_while_its_parent_moves_is_not_too_deep(desk: Desk) -> None:
    for _ in range(5):
        above, (one, two) = await a_chain(desk.admin, 2), await a_chain(desk.admin, 2)
        # To move two levels below two is fine, and so is a third below them where they are: not both.
        answers = await asyncio.gather(
            move(desk.admin, one, above[-1]),
            desk.admin.post("/menus", {"name": "Level 2", "parentId": two["id"]}),
        )
        assert sorted(answer.is_success for answer in answers) == [False, True]
        (loser,) = (answer for answer in answers if not answer.is_success)
        wrong_fields(loser, "menu_too_deep")

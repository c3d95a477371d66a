"""GET /users?q=… in every script and spelling."""

from __future__ import annotations

import pytest

from tests.accounts.users.test_users import list_emails
from tests.accounts.users_and_roles import add_user, ok
from tests.organisation_client import Desk


@pytest.mark.parametrize(
    ("first_name", "last_name", "texts"),
    [
        ("Łukasz", "Błaszczyk", ["lukasz", "blaszczyk lukasz"]),
        ("Björk", "Guðmundsdóttir", ["gudmundsdottir", "bjoerk"]),
        ("Søren", "Østergård", ["soren ostergard", "soeren oestergaard", "sorenostergard"]),
        ("Işıl", "Yıldız", ["isil yildiz", "ISIL"]),
        ("Đức", "Nguyễn", ["duc nguyen", "nguyenduc"]),
        ("Seán", "O’Connor", ["oconnor", "o'connor", "O’Connor", "connor"]),
        ("Aloha", "Hanaialiʻi", ["hanaiali'i", "hanaialii"]),
        ("太郎", "山田", ["山田太郎", "山田 太郎", "太郎山田", "田太", "郎"]),
        ("철수", "김", ["김철수", "김 철수", "철수", "김"]),
        ("Jürgen", "Groß", ["juergen", "Jurgen gross", "grossjürgen"]),
        ("Joergen", "Groß", ["jörgen"]),
    ],
)
async def test_users_are_found_in_every_script_and_spelling(
    desk: Desk, first_name: str, last_name: str, texts: list[str]
) -> None:
    user = await add_user(desk, first_name=first_name, last_name=last_name)
    for q in texts:
        assert await list_emails(desk.admin, q=q) == [user.email], q


async def test_a_search_with_many_words_looks_for_the_rarest(desk: Desk) -> None:
    user = await add_user(desk, first_name="A B C D E F G", last_name="H Wolfeschlegelstein", email="a@b.test")
    answer = ok(await desk.admin.get("/users", params={"q": "A B C D E F G H Wolfeschlegelstein"}))
    assert [one["email"] for one in answer["items"]] == [user.email]
    assert answer["note"].endswith("without: h.")

"""GET /tickets/{id}."""

from __future__ import annotations

from app.access.user_permissions import RoleKind
from tests.organisation_client import Desk
from tests.tickets.users import add_and_sign_in


async def test_a_ticket_has_its_comments_oldest_first(desk: Desk) -> None:
    bo = await desk.another_admin()
    ticket = await desk.open()
    first = await desk.respond(ticket, "We are looking at it.")
    second = (await bo.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})).json()

    answer = await desk.admin.get(f"/tickets/{ticket['id']}")

    read = answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"3"'
    assert read.pop("comments") == [
        {
            "id": first["id"],
            "message": "We are looking at it.",
            "author": {"id": str(desk.admin.id), "email": desk.admin.email, "firstName": "Ada", "lastName": "Lovelace"},
            "createdAt": first["createdAt"],
        },
        {
            "id": second["id"],
            "message": "Fixed.",
            "author": {"id": str(bo.id), "email": bo.email, "firstName": "Ada", "lastName": "Lovelace"},
            "createdAt": second["createdAt"],
        },
    ]
    assert read == second["ticket"]


async def test_a_new_ticket_has_no_comments(desk: Desk) -> None:
    ticket = await desk.open()

    assert await desk.read(ticket) == {**ticket, "comments": []}


async def test_comments_require_the_permission_to_view_them(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)
    path = f"/tickets/{ticket['id']}"
    for denied, seen in ([], 1), (["comments:view"], 0):
        for role in (RoleKind.ENGINEER, RoleKind.ADMIN):
            reader = await add_and_sign_in(desk, role, denied=denied)
            answer = await reader.get(path)
            assert answer.status_code == 200
            read = answer.json()
            assert (read["status"], len(read["comments"])) == ("RESPONDED", seen)
    product = await desk.api.http.get(path, headers={"X-Org-Secret": desk.secret})
    assert len(product.json()["comments"]) == 1


async def test_the_secret_key_reads_a_ticket_its_history_and_its_schedule(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)

    for path in ("", "/history", "/schedule"):
        by_product = await desk.api.http.get(f"/tickets/{ticket['id']}{path}", headers={"X-Org-Secret": desk.secret})
        by_admin = await desk.admin.get(f"/tickets/{ticket['id']}{path}")
        assert by_product.status_code == 200
        assert by_product.json() == by_admin.json()


async def test_the_secret_key_is_not_accepted_in_the_query(desk: Desk) -> None:
    ticket = await desk.open()

    answer = await desk.api.http.get(f"/tickets/{ticket['id']}", params={"secret": desk.secret})

    assert answer.status_code in {401, 422}
    assert desk.secret not in answer.text


async def test_an_invalid_id_is_refused(desk: Desk) -> None:
    answer = await desk.admin.get("/tickets/42")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "id")

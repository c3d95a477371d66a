"""Stored pictures of users: who can see and remove them, and how the API describes them."""

from __future__ import annotations

import asyncio

import pytest
from PIL import Image
from sqlalchemy import select

from app.access.user_permissions import RoleKind
from app.accounts.pictures.models import Picture
from app.core.database.pool import Database
from app.main import create_api
from tests.accounts.images import decode, encode
from tests.accounts.pictures.uploads import SMALL, get_picture, upload_picture
from tests.accounts.users_and_roles import CUSTOMER, ENGINEER, add_signed_in_user, add_user, list_events, ok
from tests.conftest import settings_for
from tests.organisation_client import Api, Desk, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields


class TestViewing:
    @pytest.mark.parametrize("role", [ENGINEER, CUSTOMER])
    async def test_every_user_can_see_pictures_of_staff(self, desk: Desk, role: RoleKind) -> None:
        ok(await upload_picture(desk.admin, SMALL))
        colleague = await add_signed_in_user(desk, role)
        assert (await get_picture(desk.admin, colleague)).content == (await get_picture(desk.admin)).content
        ok(await upload_picture(colleague, encode(Image.new("RGB", (9, 9), "blue"))))
        assert decode((await get_picture(colleague, desk.admin)).content).size == (9, 9)
        assert decode((await get_picture(desk.admin)).content).size == (8, 8)

    async def test_customers_cannot_see_each_others_pictures(self, desk: Desk) -> None:
        one, other = await add_signed_in_user(desk, CUSTOMER), await add_signed_in_user(desk, CUSTOMER)
        ok(await upload_picture(one, SMALL))
        assert (await get_picture(one)).status_code == 200
        assert_problem(await get_picture(one, other), 404, "user_not_found")
        assert_problem(await get_picture(other, one), 404, "user_not_found")
        assert (await get_picture(one, await add_signed_in_user(desk, ENGINEER))).status_code == 200

    async def test_a_user_of_another_organisation_cannot_see_the_picture(
        self, api: Api, desk: Desk, database: Database
    ) -> None:
        ok(await upload_picture(desk.admin, SMALL))
        stranger = (await create_desk(api, database)).admin
        missing = await desk.admin.get("/users/0190b8e5-0000-7000-8000-000000000001/picture")
        foreign = assert_problem(await get_picture(desk.admin, stranger), 404, "user_not_found")
        assert foreign | {"requestId": 0} == assert_problem(missing, 404, "user_not_found") | {"requestId": 0}
        assert (await stranger.delete("/me/picture")).status_code == 204
        assert (await get_picture(desk.admin)).status_code == 200

    async def test_a_missing_picture_and_an_erased_user_are_not_found(self, desk: Desk) -> None:
        assert_problem(await get_picture(desk.admin), 404, "picture_not_found")
        erased = await add_user(desk, status="ERASED")
        assert_problem(await desk.admin.get(f"/users/{erased.id}/picture"), 404, "user_not_found")
        assert read_invalid_fields(await desk.admin.get("/users/me/picture")) == {"id"}

    async def test_a_matching_etag_returns_304(self, desk: Desk) -> None:
        ok(await upload_picture(desk.admin, SMALL))
        first = await get_picture(desk.admin)
        assert first.headers["cache-control"] == "private, max-age=60"
        assert first.headers["vary"] == "Authorization, Origin"
        tag, path = first.headers["etag"], f"/users/{desk.admin.id}/picture"
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = await desk.admin.http.get(path, headers=desk.admin.headers | {"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "private, max-age=60")
        for known in ('"other"', "nonsense", ""):
            again = await desk.admin.http.get(path, headers=desk.admin.headers | {"If-None-Match": known})
            assert again.content == first.content

        ok(await upload_picture(desk.admin, encode(Image.new("RGB", (9, 9)))))
        other = await desk.admin.http.get(path, headers=desk.admin.headers | {"If-None-Match": tag})
        assert other.status_code == 200
        assert other.headers["etag"] != tag

    async def test_errors_are_not_cached(self, desk: Desk) -> None:
        assert (await get_picture(desk.admin)).headers["cache-control"] == "no-store"


class TestRemoving:
    async def test_removing_is_idempotent(self, desk: Desk) -> None:
        user = await add_signed_in_user(desk)
        ok(await upload_picture(user, SMALL))
        for _ in range(2):
            answer = await user.delete("/me/picture")
            assert (answer.status_code, answer.content) == (204, b"")
        assert_problem(await get_picture(user), 404, "picture_not_found")
        assert ok(await user.get("/me"))["pictureUrl"] is None
        changed = ("user.updated", {"fields": ["picture"]})
        assert await list_events(desk, user.id) == [changed, changed]
        async with desk.database.session(desk.id) as db:
            assert (await db.scalars(select(Picture).where(Picture.org_id == desk.id))).all() == []

    async def test_concurrent_uploads_leave_one_picture(self, desk: Desk) -> None:
        user = await add_signed_in_user(desk)
        files = [encode(Image.new("RGB", (side, side))) for side in range(1, 6)]
        answers = await asyncio.gather(*(upload_picture(user, file) for file in files))
        assert [answer.status_code for answer in answers] == [200] * 5
        async with desk.database.session(desk.id) as db:
            (row,) = (await db.scalars(select(Picture).where(Picture.org_id == desk.id))).all()
        assert (await get_picture(user)).content == row.image


def test_openapi_describes_upload_and_download(server: TestServer) -> None:
    paths = create_api(settings_for(server)).openapi()["paths"]
    (sent,) = paths["/me/picture"]["put"]["requestBody"]["content"].items()
    assert sent[0] == "multipart/form-data"
    assert sent[1]["schema"]["properties"]["file"] | {"description": ""} == {
        "type": "string", "format": "binary", "description": "",
    }  # fmt: skip
    got = paths["/users/{id}/picture"]["get"]["responses"]
    assert list(got["200"]["content"]) == ["image/webp"]
    assert {"304", "404"} <= got.keys()

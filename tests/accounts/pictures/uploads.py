"""Upload and download pictures of users."""

from __future__ import annotations

import httpx
from PIL import Image

from tests.accounts.images import decode, encode
from tests.accounts.users_and_roles import ok
from tests.organisation_client import SignedInUser

SMALL = encode(Image.new("RGB", (8, 8), "red"))


async def upload_picture(
    user: SignedInUser, file: bytes, name: str = "me.png", kind: str = "image/png"
) -> httpx.Response:
    return await user.http.put("/me/picture", files={"file": (name, file, kind)}, headers=user.headers)


async def get_picture(user: SignedInUser, viewer: SignedInUser | None = None) -> httpx.Response:
    return await (viewer or user).get(f"/users/{user.id}/picture")


async def upload_and_download(user: SignedInUser, file: bytes) -> Image.Image:
    """Upload a file and return the stored picture."""
    ok(await upload_picture(user, file))
    answer = await get_picture(user)
    assert answer.status_code == 200
    return decode(answer.content)

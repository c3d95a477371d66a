"""Pictures over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Request, Response

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.operation_requirements import CurrentUser
from app.access.services import get_services
from app.accounts.pictures import queries, service
from app.accounts.pictures.errors import ImageTooLarge, NotAnImage, PictureNotFound, TooManyPictures
from app.accounts.pictures.image import normalise_image
from app.accounts.pictures.schemas import ProfilePicture
from app.accounts.pictures.upload import REQUEST_BODY, parse_upload
from app.accounts.users.errors import UserNotFound
from app.core.errors import TooMany
from app.core.fields import OptionalParameter
from app.core.web.openapi import HEADERS, responses
from app.core.web.preconditions import is_unmodified
from app.core.web.routing import Route

WEBP = "image/webp"
# Private, because not every user may see every picture. A minute saves most requests of a page with many pictures.
CACHING = {"Cache-Control": "private, max-age=60", "Vary": "Authorization"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_TAG = {
    "ETag": HEADERS["ETag"] | {"description": "For `If-None-Match`."},
    "Cache-Control": {"schema": {"type": "string"}, "example": CACHING["Cache-Control"]},
}
_PICTURE: dict[int | str, Any] = {
    200: {
        "description": "The picture.",
        "content": {WEBP: {"schema": {"type": "string", "format": "binary"}, "example": "(the bytes of an image)"}},
        "headers": _TAG,
    },
    304: {"description": "The picture has not changed.", "headers": _TAG},
}

router = APIRouter(tags=["Profile"], route_class=Route)


@router.put(
    "/me/picture",
    operation_id="setPicture",
    summary="Set your picture",
    responses=responses(NotAnImage, ImageTooLarge, TooManyPictures, TooMany, body=True),
    openapi_extra=REQUEST_BODY,
)
@limited(Limit.PICTURE)
async def set_picture(caller: CurrentUser, request: Request) -> ProfilePicture:
    """Send a JPEG, PNG, WebP or GIF of at most 5 MB as the field `file` of a form.

    Only the pixels are kept, scaled to at most 512 on the longer side, without metadata such as the place and the
    camera. Of an animation, the first frame is kept. You can upload 20 pictures an hour.
    """
    services = get_services(request)
    await services.attempts.count_picture_upload(caller.user.id)
    async with parse_upload(request) as file:
        image = await normalise_image(file.file)
    async with services.database.session(caller.org_id) as db:
        updated_at = await service.set_picture(db, caller, image)
    return ProfilePicture(picture_url=f"/users/{caller.user.id}/picture", updated_at=updated_at)


@router.delete(
    "/me/picture",
    operation_id="deletePicture",
    summary="Remove your picture",
    status_code=204,
    responses=responses(),
)
async def remove_picture(caller: CurrentUser, request: Request) -> None:
    """Remove your picture. The request also succeeds if you have none."""
    async with get_services(request).database.session(caller.org_id) as db:
        await service.remove_picture(db, caller)


@router.get(
    "/users/{id}/picture",
    operation_id="getPicture",
    summary="Get a user's picture",
    response_class=Response,
    responses=responses(UserNotFound, PictureNotFound) | _PICTURE,
)
async def get_picture(
    user_id: Annotated[UUID, Path(alias="id")],
    caller: CurrentUser,
    request: Request,
    if_none_match: Annotated[
        OptionalParameter[str], Header(description="The ETag of the picture that you have.")
    ] = None,
) -> Response:
    """Get the picture of a user of your organisation, as WebP. Customers see their own picture and those of staff.

    Send the access token in the header, as always: fetch the picture in a script, since an `img` element sends none.
    """
    async with get_services(request).database.session(caller.org_id) as db:
        set_at = await queries.get_picture_time(db, caller, user_id)
        tag = f'"{(set_at - _EPOCH) // _MICROSECOND:x}"'
        headers = {**CACHING, "ETag": tag}
        if is_unmodified(if_none_match, tag):
            return Response(status_code=304, headers=headers)
        image = await queries.get_image(db, caller.org_id, user_id)
    return Response(image, media_type=WEBP, headers=headers)

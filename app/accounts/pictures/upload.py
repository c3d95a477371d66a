"""An uploaded file over HTTP: `multipart/form-data` (RFC 7578) with the one field `file`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.core.errors import BadInput, FieldError

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_UPLOAD_BYTES = MAX_FILE_BYTES + 64 * 1024  # with what is around the file
MAX_PARTS = 10  # so that those that should not be there can be named
FIELD = "file"

# What FastAPI would say of it, had it read the body: it would do so before it knows who is calling.
REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "title": "PictureIn",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or GIF."}
                    },
                    "additionalProperties": False,
                },
                "example": {FIELD: "(the bytes of an image)"},
            }
        },
    }
}


@asynccontextmanager
async def uploaded(request: Request) -> AsyncIterator[UploadFile]:
    """The file of a request; it is closed at the end.

    Raises:
        BadInput: the body is not a form with this one field.
        HTTPException: 413, the file is too large.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise _bad("", "A form is needed, with Content-Type: multipart/form-data.")
    parser = MultiPartParser(request.headers, request.stream(), max_files=MAX_PARTS, max_fields=MAX_PARTS)
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError):  # the latter from a charset that nobody would name
        raise _bad("", "The body is not a good multipart/form-data, or has too many parts.") from None
    try:
        yield _file_of(form)
    finally:
        await form.close()


def _file_of(form: FormData) -> UploadFile:
    parts = form.multi_items()
    unknown = [FieldError(_readable(name), "There is no such field.") for name, _ in parts if name != FIELD]
    if unknown:
        raise BadInput(f"{unknown[0].field}: {unknown[0].message}", errors=unknown)
    if not parts:
        raise _bad(FIELD, "This is required.")
    if len(parts) > 1:
        raise _bad(FIELD, "It may be given once.")
    file = parts[0][1]
    if not isinstance(file, UploadFile):
        raise _bad(FIELD, "A file is needed, with a filename.")
    if (file.size or 0) > MAX_FILE_BYTES:
        raise HTTPException(413)
    return file


def _readable(name: str) -> str:
    # In the charset of the form's choice it may have been anything, half a surrogate too.
    return name[:100].encode(errors="replace").decode()


def _bad(field: str, message: str) -> BadInput:
    return BadInput(f"{field}: {message}" if field else message, errors=[FieldError(field, message)])

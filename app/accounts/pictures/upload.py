"""Parse a file upload: `multipart/form-data` (RFC 7578) with a single field `file`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.core.errors import BadInput, FieldError, UnsupportedMediaType

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_UPLOAD_BYTES = MAX_FILE_BYTES + 64 * 1024  # the file with the headers and boundaries of the form
MAX_PARTS = 10  # more than one, so that unexpected parts can be reported by name
FIELD = "file"

# Documents the body by hand: FastAPI would parse a declared body before it authenticates the caller.
REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "title": "PictureUpload",
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
async def parse_upload(request: Request) -> AsyncIterator[UploadFile]:
    """Yield the uploaded file, and close it at the end.

    Raises:
        UnsupportedMediaType: The body is not a form.
        BadInput: The form does not have the single field `file`.
        HTTPException: 413, the file is larger than `MAX_FILE_BYTES`.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type:
        raise BadInput.of_field("", "A form with Content-Type: multipart/form-data is required.")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedMediaType("A form is required: send it as `Content-Type: multipart/form-data`.")
    parser = MultiPartParser(request.headers, request.stream(), max_files=MAX_PARTS, max_fields=MAX_PARTS)
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError):  # ValueError: an invalid charset
        raise BadInput.of_field("", "The body is not valid multipart/form-data, or has too many parts.") from None
    try:
        yield _get_file(form)
    finally:
        await form.close()


def _get_file(form: FormData) -> UploadFile:
    parts = form.multi_items()
    unknown = [FieldError(_make_printable(name), "There is no such field.") for name, _ in parts if name != FIELD]
    if unknown:
        raise BadInput(errors=unknown)
    if not parts:
        raise BadInput.of_field(FIELD, "This is required.")
    if len(parts) > 1:
        raise BadInput.of_field(FIELD, "Send it only once.")
    file = parts[0][1]
    if not isinstance(file, UploadFile):
        raise BadInput.of_field(FIELD, "A file with a filename is required.")
    if (file.size or 0) > MAX_FILE_BYTES:
        raise HTTPException(413)
    return file


def _make_printable(name: str) -> str:
    # The client chooses the charset, so the name may contain anything, including lone surrogates.
    return name[:100].encode(errors="replace").decode()

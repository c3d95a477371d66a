"""Send requests to OpenID Connect providers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
import orjson

from app.authentication.social.errors import IdentityRejected, ProviderUnreachable

PROVIDER_TIMEOUT = 10.0  # seconds, for a complete response
MAX_RESPONSE_BYTES = 512 * 1024
MIN_SERVER_ERROR = 500
OK = 200


async def fetch_json(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, content: str = ""
) -> dict[str, Any]:
    """Request a JSON object from a provider. Redirects are not followed, since they would forward secrets.

    Raises:
        ProviderUnreachable: No response in time, or a response with a status of 500 or above.
        IdentityRejected: A response with another status than 2xx, or one that is too large or not a JSON object.
    """
    all_headers = {"Accept": "application/json", **(headers or {})}
    try:
        async with (
            asyncio.timeout(PROVIDER_TIMEOUT),
            httpx.AsyncClient(verify=_ssl_context(), timeout=PROVIDER_TIMEOUT) as http,
            http.stream(method, url, headers=all_headers, content=content) as response,
        ):
            body = await _read_body(response)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # OSError includes TimeoutError
        raise ProviderUnreachable(f"does not respond: {type(error).__name__}") from None
    if response.status_code >= MIN_SERVER_ERROR:
        raise ProviderUnreachable(f"responds with status {response.status_code}")
    if response.status_code != OK:
        raise IdentityRejected(f"responds with status {response.status_code}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise IdentityRejected("responds with something other than a JSON object")
    return document


async def _read_body(response: httpx.Response) -> bytes:
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_RESPONSE_BYTES:
            raise IdentityRejected("responds with too many bytes")
    return body


@cache
def _ssl_context() -> ssl.SSLContext:
    # Loading the root certificates takes as long as a hundred small requests.
    return httpx.create_ssl_context()

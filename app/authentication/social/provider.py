"""OpenID Connect providers, as we talk to them (OpenID Connect Core and Discovery 1.0, RFC 7636).

Who somebody is follows from the ID token alone, whose signature is checked; only their e-mail and names may also come
from the userinfo endpoint of the same provider. No line of the log has a code or a token in it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import httpx
import orjson
import structlog
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import AfterValidator, BaseModel, ValidationError

from app.authentication.social.rules import (
    DEFAULT_ALGORITHM,
    Identity,
    NotIdentified,
    algorithms_of,
    completed,
    identity_of,
    lacks_email,
)
from app.authentication.social.schemas import ProviderCallback
from app.authentication.social.state import Pending
from app.core.config import OidcProvider, is_safe_url
from app.core.errors import Forbidden, NotFound, Unavailable

KEPT_FOR = 3600.0  # seconds
PATIENCE = 10.0  # seconds, for a whole answer
MAX_ANSWER = 512 * 1024  # bytes
LEEWAY = 60  # seconds that a provider's clock may be off
SERVER_ERRORS = 500
OK = 200

_VISIBLE = re.compile("[!-~]+")  # RFC 6749, A.12

log = structlog.get_logger("tessera.social")


class ProviderNotFound(NotFound):
    """The settings have no such provider."""

    code = "provider_not_found"
    title = "There is no such provider of social sign-in here."


class ProviderUnavailable(Unavailable):
    """The provider cannot be reached, or not be understood."""

    code = "provider_unavailable"
    title = "This provider cannot be used right now: try again shortly, or sign in in another way."


class SocialSignInRefused(Forbidden):
    """The provider refused, or did not prove who somebody is. Why stands in the log only."""

    code = "social_sign_in_refused"
    title = "The provider did not confirm who you are: begin again, or sign in in another way."


class Unreachable(NotIdentified):
    """The provider does not answer."""


def _is_safe(url: str) -> str:
    if not is_safe_url(url):
        raise ValueError("neither https nor on this machine")
    return url


SafeUrl = Annotated[str, AfterValidator(_is_safe)]


class Metadata(BaseModel):
    """What a provider says of itself (Discovery, section 3), as much of it as is needed."""

    issuer: str
    authorization_endpoint: SafeUrl
    token_endpoint: SafeUrl
    jwks_uri: SafeUrl
    userinfo_endpoint: SafeUrl | None = None
    id_token_signing_alg_values_supported: list[str] = [DEFAULT_ALGORITHM]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]

    @property
    def endpoints(self) -> list[str]:
        """Where we are sent, or send something."""
        found = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri, self.userinfo_endpoint)
        return [endpoint for endpoint in found if endpoint is not None]


class Provider:
    """One provider; what it says of itself, and its keys, are kept for an hour."""

    def __init__(self, name: str, settings: OidcProvider) -> None:
        self.name = name
        self._settings = settings
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def address(self, pending: Pending, redirect_uri: str) -> str:
        """Where somebody goes to sign in.

        Raises:
            ProviderUnavailable
        """
        try:
            metadata = await self._read_metadata()
        except NotIdentified as fault:
            raise self._unavailable(fault) from None
        address: str = prepare_grant_uri(
            metadata.authorization_endpoint,
            client_id=self._settings.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=self._settings.scopes,
            state=pending.state,
            nonce=pending.nonce,
            code_challenge=create_s256_code_challenge(pending.verifier),
            code_challenge_method="S256",
        )
        return address

    async def identify(self, pending: Pending, said: ProviderCallback, redirect_uri: str) -> Identity:
        """Who it is that came back.

        Raises:
            SocialSignInRefused
            ProviderUnavailable
        """
        try:
            return await self._identify(pending, said, redirect_uri)
        except Unreachable as fault:
            raise self._unavailable(fault) from None
        except NotIdentified as fault:
            log.warning("social_sign_in_refused", provider=self.name, because=str(fault))
            raise SocialSignInRefused from None

    def _unavailable(self, fault: NotIdentified) -> ProviderUnavailable:
        log.warning("provider_unavailable", provider=self.name, because=str(fault))
        return ProviderUnavailable()

    async def _identify(self, pending: Pending, said: ProviderCallback, redirect_uri: str) -> Identity:
        if said.code is None:
            raise NotIdentified("there is no code, but access_denied" if said.error == "access_denied" else "no code")
        metadata = await self._read_metadata()
        if said.iss not in {None, metadata.issuer}:
            raise NotIdentified("the code is another provider's")
        tokens = await self._exchange(metadata, said.code, pending.verifier, redirect_uri)
        claims = await self._claims_of(metadata, tokens, pending.nonce)
        if lacks_email(claims) and metadata.userinfo_endpoint:
            claims = completed(claims, await self._ask(metadata.userinfo_endpoint, tokens.get("access_token")))
        return identity_of(claims)

    async def _ask(self, userinfo_endpoint: str, access_token: object) -> Mapping[str, Any]:
        if not isinstance(access_token, str) or not _VISIBLE.fullmatch(access_token):
            raise NotIdentified("no access token")
        return await fetch("GET", userinfo_endpoint, headers={"Authorization": f"Bearer {access_token}"})

    async def _read_metadata(self) -> Metadata:
        if self._metadata is None or self._metadata[0] < time.monotonic():
            self._metadata = (time.monotonic() + KEPT_FOR, await read_metadata(self._settings.issuer))
        return self._metadata[1]

    async def _read_keys(self, metadata: Metadata, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew or self._keys[0] < time.monotonic():
            self._keys = (time.monotonic() + KEPT_FOR, _keys_of(await fetch("GET", metadata.jwks_uri)))
        return self._keys[1]

    async def _exchange(self, metadata: Metadata, code: str, verifier: str, redirect_uri: str) -> Mapping[str, Any]:
        """What the provider gives for the code (RFC 6749, 4.1.3)."""
        wanted = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier,
        }  # fmt: skip
        supported = metadata.token_endpoint_auth_methods_supported
        auth = self._authentication(in_header="client_secret_basic" in supported)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url, headers, body = auth.prepare("POST", metadata.token_endpoint, headers, urlencode(wanted))
        return await fetch("POST", url, headers=headers, content=body)

    def _authentication(self, *, in_header: bool) -> Any:
        client_id, secret = self._settings.client_id, self._settings.client_secret.get_secret_value()
        if in_header:  # where both are percent-encoded first (RFC 6749, 2.3.1)
            return ClientAuth(quote(client_id, safe=""), quote(secret, safe=""), "client_secret_basic")
        return ClientAuth(client_id, secret, "client_secret_post")

    async def _claims_of(self, metadata: Metadata, tokens: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """What the ID token says, once all of it has been checked (OpenID Connect Core, 3.1.3.7)."""
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise NotIdentified("no ID token")
        # An empty list would stand for all algorithms that the library knows.
        registry = JWSRegistry(
            algorithms=algorithms_of(metadata.id_token_signing_alg_values_supported), strict_check_header=False
        )
        keys = await self._read_keys(metadata)
        try:
            try:
                token = jwt.decode(id_token, keys, registry=registry)
            except InvalidKeyIdError:  # a new one, perhaps
                token = jwt.decode(id_token, await self._read_keys(metadata, anew=True), registry=registry)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": metadata.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
                {"nonce": nonce, "client_id": self._settings.client_id, "access_token": tokens.get("access_token")},
            )
            claims.validate(leeway=LEEWAY)
        except NotIdentified:
            raise
        except Exception as error:  # noqa: BLE001 - a hostile token makes the parser raise nearly anything
            raise NotIdentified(f"the ID token is not good: {type(error).__name__}") from None
        return dict(claims)


class Providers:
    """The providers of the settings, by name."""

    def __init__(self, settings: Mapping[str, OidcProvider]) -> None:
        self._all = {name: Provider(name, one) for name, one in settings.items()}

    def named(self, name: str) -> Provider:
        """The one with this name.

        Raises:
            ProviderNotFound
        """
        try:
            return self._all[name]
        except KeyError:
            raise ProviderNotFound from None


async def read_metadata(issuer: str) -> Metadata:
    """What a provider says of itself.

    Raises:
        NotIdentified: it does not answer, or its answer is not about this issuer or not safe to follow.
    """
    read = await fetch("GET", get_well_known_url(issuer, external=True))
    try:
        metadata = Metadata.model_validate(read)
    except ValidationError as error:
        fields = ", ".join(sorted({str(one["loc"][0]) for one in error.errors(include_input=False)}))
        raise NotIdentified(f"the metadata is not good: {fields}") from None
    if metadata.issuer != issuer:
        raise NotIdentified("the metadata is another issuer's")
    if issuer.startswith("https:") and any(not endpoint.startswith("https:") for endpoint in metadata.endpoints):
        raise NotIdentified("the metadata leads to where nothing is encrypted")
    return metadata


async def fetch(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, content: str = ""
) -> dict[str, Any]:
    """A JSON object from a provider. Redirects are not followed: they would take secrets elsewhere.

    Raises:
        Unreachable: there is no answer in time, or it is one of a server in trouble.
        NotIdentified: it is something else.
    """
    accepting = {"Accept": "application/json", **(headers or {})}
    try:
        async with (
            asyncio.timeout(PATIENCE),
            httpx.AsyncClient(verify=_tls(), timeout=PATIENCE) as http,
            http.stream(method, url, headers=accepting, content=content) as answer,
        ):
            body = await _read(answer)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # of which TimeoutError is one
        raise Unreachable(f"no answer: {type(error).__name__}") from None
    if answer.status_code >= SERVER_ERRORS:
        raise Unreachable(f"answered {answer.status_code}")
    if answer.status_code != OK:
        raise NotIdentified(f"answered {answer.status_code}")
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        read = None
    if not isinstance(read, dict):
        raise NotIdentified("an answer is no JSON object")
    return read


async def _read(answer: httpx.Response) -> bytes:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > MAX_ANSWER:
            raise NotIdentified("an answer is too large")
    return body


def _keys_of(read: Mapping[str, Any]) -> KeySet:
    try:
        return KeySet.import_key_set({"keys": read["keys"]})
    except Exception as error:  # noqa: BLE001 - as of a hostile token
        raise NotIdentified(f"the keys are not good: {type(error).__name__}") from None


@cache
def _tls() -> ssl.SSLContext:
    # To read all roots takes as long as a hundred small requests.
    return httpx.create_ssl_context()

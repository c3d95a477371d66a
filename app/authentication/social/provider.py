"""Identify users at OpenID Connect providers (OpenID Connect Core 1.0, RFC 7636).

The identity comes from the ID token alone, whose signature is verified. Only e-mail and names may also come from the
userinfo endpoint of the same provider. Codes and tokens are never logged.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import structlog
from anyio import CapacityLimiter
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from app.authentication.social.discovery import Metadata, fetch_metadata
from app.authentication.social.errors import (
    IdentificationFailed,
    ProviderNotFound,
    ProviderUnavailable,
    ProviderUnreachable,
    SocialSignInRefused,
)
from app.authentication.social.http_client import fetch_json
from app.authentication.social.rules import (
    Identity,
    accepted_algorithms,
    lacks_email,
    merge_userinfo,
    parse_identity,
)
from app.authentication.social.schemas import ProviderCallback
from app.authentication.social.state import PendingSignIn
from app.core.config import OidcProvider
from app.core.request_turns import suspended_turn

T = TypeVar("T")

CACHE_LIFETIME = 3600.0  # seconds
CLOCK_LEEWAY = 60  # seconds that a provider's clock may be off
MAX_CALLS = 32  # to one provider at the same time, per process
MAX_WAITING_CALLS = 64

_VISIBLE_ASCII = re.compile("[!-~]+")  # RFC 6749, A.12

log = structlog.get_logger("tessera.social")


class Provider:
    """One provider. Its metadata and keys are cached for an hour."""

    def __init__(self, name: str, settings: OidcProvider) -> None:
        self.name = name
        self._settings = settings
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._calls = CapacityLimiter(MAX_CALLS)

    async def authorization_url(self, pending: PendingSignIn, redirect_uri: str) -> str:
        """Return the URL at which the user signs in.

        Raises:
            ProviderUnavailable
        """
        try:
            metadata = await self._load_metadata()
        except IdentificationFailed as error:
            raise self._log_unavailable(error) from None
        url: str = prepare_grant_uri(
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
        return url

    async def identify(self, pending: PendingSignIn, callback: ProviderCallback, redirect_uri: str) -> Identity:
        """Return the identity of the user whom the provider sent back.

        Raises:
            SocialSignInRefused
            ProviderUnavailable
        """
        try:
            return await self._identify(pending, callback, redirect_uri)
        except ProviderUnreachable as error:
            raise self._log_unavailable(error) from None
        except IdentificationFailed as error:
            log.warning("social_sign_in_refused", provider=self.name, reason=str(error))
            raise SocialSignInRefused from None

    def _log_unavailable(self, error: IdentificationFailed) -> ProviderUnavailable:
        log.warning("provider_unavailable", provider=self.name, reason=str(error))
        return ProviderUnavailable()

    async def _identify(self, pending: PendingSignIn, callback: ProviderCallback, redirect_uri: str) -> Identity:
        if callback.code is None:
            # Other errors are not logged by name: the provider's text may be anything.
            raise IdentificationFailed("no code: access_denied" if callback.error == "access_denied" else "no code")
        metadata = await self._load_metadata()
        if callback.iss not in {None, metadata.issuer}:
            raise IdentificationFailed("the code comes from another issuer")
        tokens = await self._exchange_code(metadata, callback.code, pending.verifier, redirect_uri)
        claims = await self._verify_id_token(metadata, tokens, pending.nonce)
        if lacks_email(claims) and metadata.userinfo_endpoint:
            userinfo = await self._fetch_userinfo(metadata.userinfo_endpoint, tokens.get("access_token"))
            claims = merge_userinfo(claims, userinfo)
        return parse_identity(claims)

    async def _fetch_userinfo(self, userinfo_endpoint: str, access_token: object) -> Mapping[str, Any]:
        if not isinstance(access_token, str) or not _VISIBLE_ASCII.fullmatch(access_token):
            raise IdentificationFailed("no access token")
        headers = {"Authorization": f"Bearer {access_token}"}
        return await self._call(partial(fetch_json, "GET", userinfo_endpoint, headers=headers))

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call to the provider, of which there is a maximum. The request has no turn meanwhile.

        Raises:
            ProviderUnreachable: too many calls are waiting already, as they do if the provider does not respond.
        """
        if self._calls.statistics().tasks_waiting >= MAX_WAITING_CALLS:
            raise ProviderUnreachable("has too many calls that wait")
        async with suspended_turn(), self._calls:
            return await call()

    async def _load_metadata(self) -> Metadata:
        if self._metadata is None or self._metadata[0] < time.monotonic():
            self._metadata = (
                time.monotonic() + CACHE_LIFETIME,
                await self._call(partial(fetch_metadata, self._settings.issuer)),
            )
        return self._metadata[1]

    async def _load_keys(self, metadata: Metadata, *, refresh: bool = False) -> KeySet:
        if self._keys is None or refresh or self._keys[0] < time.monotonic():
            document = await self._call(partial(fetch_json, "GET", metadata.jwks_uri))
            self._keys = (time.monotonic() + CACHE_LIFETIME, _parse_keys(document))
        return self._keys[1]

    async def _exchange_code(
        self, metadata: Metadata, code: str, verifier: str, redirect_uri: str
    ) -> Mapping[str, Any]:
        """Exchange the code for tokens (RFC 6749, 4.1.3)."""
        grant = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier,
        }  # fmt: skip
        supported = metadata.token_endpoint_auth_methods_supported
        auth = self._client_auth(in_header="client_secret_basic" in supported)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url, headers, body = auth.prepare("POST", metadata.token_endpoint, headers, urlencode(grant))
        return await self._call(partial(fetch_json, "POST", url, headers=headers, content=body))

    def _client_auth(self, *, in_header: bool) -> Any:
        client_id, secret = self._settings.client_id, self._settings.client_secret.get_secret_value()
        if in_header:  # both are percent-encoded there (RFC 6749, 2.3.1)
            return ClientAuth(quote(client_id, safe=""), quote(secret, safe=""), "client_secret_basic")
        return ClientAuth(client_id, secret, "client_secret_post")

    async def _verify_id_token(self, metadata: Metadata, tokens: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """Verify the ID token and return its claims (OpenID Connect Core, 3.1.3.7)."""
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise IdentificationFailed("no ID token")
        # `accepted_algorithms` never returns an empty list, which the library would take for all algorithms.
        registry = JWSRegistry(
            algorithms=accepted_algorithms(metadata.id_token_signing_alg_values_supported), strict_check_header=False
        )
        keys = await self._load_keys(metadata)
        try:
            try:
                token = jwt.decode(id_token, keys, registry=registry)
            except InvalidKeyIdError:  # the provider may have rotated its keys
                token = jwt.decode(id_token, await self._load_keys(metadata, refresh=True), registry=registry)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": metadata.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
                {"nonce": nonce, "client_id": self._settings.client_id, "access_token": tokens.get("access_token")},
            )
            claims.validate(leeway=CLOCK_LEEWAY)
        except IdentificationFailed:
            raise
        except Exception as error:  # noqa: BLE001 - parsers raise all kinds of errors for hostile tokens
            raise IdentificationFailed(f"invalid ID token: {type(error).__name__}") from None
        return dict(claims)


class Providers:
    """The configured providers."""

    def __init__(self, settings: Mapping[str, OidcProvider]) -> None:
        self._providers = {name: Provider(name, provider) for name, provider in settings.items()}

    def get(self, name: str) -> Provider:
        """Return the provider with this name.

        Raises:
            ProviderNotFound
        """
        try:
            return self._providers[name]
        except KeyError:
            raise ProviderNotFound from None


def _parse_keys(document: Mapping[str, Any]) -> KeySet:
    try:
        return KeySet.import_key_set({"keys": document["keys"]})
    except Exception as error:  # noqa: BLE001 - parsers raise all kinds of errors for hostile keys
        raise IdentificationFailed(f"publishes invalid keys: {type(error).__name__}") from None

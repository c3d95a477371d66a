"""Fetch the metadata that a provider publishes (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from typing import Annotated

from authlib.oidc.discovery import get_well_known_url
from pydantic import AfterValidator, BaseModel, ValidationError

from app.authentication.social.errors import IdentificationFailed
from app.authentication.social.http_client import fetch_json
from app.authentication.social.rules import DEFAULT_ALGORITHM
from app.core.config import is_safe_url


def _check_safe_url(url: str) -> str:
    if not is_safe_url(url):
        raise ValueError("neither https nor on this machine")
    return url


SafeUrl = Annotated[str, AfterValidator(_check_safe_url)]


class Metadata(BaseModel):
    """The fields of a provider's metadata that are needed here (Discovery, section 3)."""

    issuer: str
    authorization_endpoint: SafeUrl
    token_endpoint: SafeUrl
    jwks_uri: SafeUrl
    userinfo_endpoint: SafeUrl | None = None
    id_token_signing_alg_values_supported: list[str] = [DEFAULT_ALGORITHM]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]

    @property
    def endpoints(self) -> list[str]:
        """The URLs that browsers are sent to, or that requests are sent to."""
        urls = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri, self.userinfo_endpoint)
        return [url for url in urls if url is not None]


async def fetch_metadata(issuer: str) -> Metadata:
    """Fetch a provider's metadata.

    Raises:
        IdentificationFailed: The provider does not respond, or its metadata is invalid, unsafe, or of another issuer.
    """
    document = await fetch_json("GET", get_well_known_url(issuer, external=True))
    try:
        metadata = Metadata.model_validate(document)
    except ValidationError as error:
        fields = ", ".join(sorted({str(one["loc"][0]) for one in error.errors(include_input=False)}))
        raise IdentificationFailed(f"publishes invalid metadata: {fields}") from None
    if metadata.issuer != issuer:
        raise IdentificationFailed("publishes the metadata of another issuer")
    if issuer.startswith("https:") and any(not endpoint.startswith("https:") for endpoint in metadata.endpoints):
        raise IdentificationFailed("publishes metadata with an unencrypted endpoint")
    return metadata

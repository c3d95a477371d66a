"""OpenID Connect providers on loopback, one of them scripted by tests, and a browser for the sign-in flow."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from uuid import uuid4

import httpx
import uvicorn
from asgi_lifespan import LifespanManager
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import func, select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from app.accounts.users.models import User as UserRow
from app.main import create_app
from tests.conftest import settings_for
from tests.organisation_client import JSON, Desk
from tests.postgres import TestServer
from tests.services import ADDRESS, Service

CLIENT_ID, CLIENT_SECRET = "tessera", "a client's s3cret: 100%"
PUBLIC_URL = "http://tessera.test"


def provider_settings(issuer: str, **more: str) -> JSON:
    """Return the settings of a provider."""
    return {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **more}


@asynccontextmanager
async def running_service(server: TestServer, **issuers: str) -> AsyncIterator[Service]:
    """Run a service with these providers."""
    providers = {name: provider_settings(issuer) for name, issuer in issuers.items()}
    app = create_app(settings_for(server, oidc_providers=providers, public_url=PUBLIC_URL))
    async with LifespanManager(app):
        yield Service(app)


def query_parameters(url: str) -> dict[str, str]:
    """Return the query parameters of a URL."""
    return dict(parse_qsl(urlsplit(url).query))


def fragment_parameters(answer: httpx.Response) -> dict[str, str]:
    """Return the parameters in the fragment of a redirect."""
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).fragment))


@dataclass
class Browser:
    """A browser with its own cookies."""

    service: Service
    desk: Desk
    provider: str = "mock"
    tessera: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.tessera = self.service.at(ADDRESS)

    async def start(self, **query: str) -> httpx.Response:
        parameters = {"org": self.desk.domain, **query}
        return await self.tessera.get(f"/auth/oidc/{self.provider}/start", params=parameters)

    async def log_in_at_provider(self, sub: str, **query: str) -> str:
        """Sign in at the provider; return the callback URL that it redirects to."""
        started = await self.start(**query)
        assert started.status_code == 302, started.text
        async with httpx.AsyncClient() as web:
            form = await web.get(started.headers["location"])
            redirect = form if form.is_redirect else await web.post(started.headers["location"], data={"sub": sub})
        assert redirect.status_code == 302, redirect.text
        address: str = redirect.headers["location"]
        assert address.startswith(f"{PUBLIC_URL}/auth/oidc/{self.provider}/callback?")
        return address

    async def follow_callback(self, address: str) -> httpx.Response:
        return await self.tessera.get(address)

    async def sign_in(self, sub: str = "", **query: str) -> httpx.Response:
        """Run the whole sign-in flow."""
        return await self.follow_callback(await self.log_in_at_provider(sub, **query))

    async def exchange(self, token: str, **more: object) -> httpx.Response:
        return await self.tessera.post("/auth/oidc/exchange", json={"token": token, **more})


async def create_provider_account(issuer: str, **claims: object) -> str:
    subject = uuid4().hex
    userinfo = {"email": f"{subject}@growfin.test", "email_verified": True, **claims}
    async with httpx.AsyncClient() as web:
        assert (await web.put(f"{issuer}/users/{subject}", json=userinfo)).is_success
    return subject


def email_of(subject: str) -> str:
    return f"{subject}@growfin.test"


async def count_users(desk: Desk) -> int:
    async with desk.database.session(desk.id) as db:
        return await db.scalar(select(func.count()).select_from(UserRow).where(UserRow.org_id == desk.id)) or 0


def sign_in_cookies(browser: Browser) -> list[str]:
    return [name for name in browser.tessera.cookies if name.startswith("tessera_oidc_")]


@dataclass
class ScriptedProvider:
    """A provider whose responses tests control. It validates requests of clients correctly."""

    url: str = ""
    original_key: RSAKey = field(default_factory=lambda: create_key("one"))
    key: RSAKey = field(init=False)
    published: list[RSAKey] = field(default_factory=list)
    metadata: JSON = field(default_factory=dict)
    claim_overrides: JSON = field(default_factory=dict)  # override or extend the correct claims; None removes one
    userinfo: JSON | None = None
    sign_override: Callable[[JSON], str] | None = None  # replaces the correct signature
    extra_callback_parameters: JSON = field(default_factory=dict)  # in addition to code and state
    token_overrides: JSON = field(default_factory=dict)  # override fields of the token response
    metadata_body: str | None = None  # replaces the metadata document
    token_response: Response | None = None  # replaces the response of the token endpoint
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    auth_methods: list[str] = field(default_factory=list)
    issued_secrets: list[str] = field(default_factory=list)  # codes and tokens
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def reset(self) -> None:
        """Restore the correct behaviour, and forget all requests."""
        self.key, self.published = self.original_key, [self.original_key]
        self.metadata, self.claim_overrides, self.extra_callback_parameters, self.token_overrides = {}, {}, {}, {}
        self.userinfo, self.sign_override, self.token_response, self.metadata_body = None, None, None, None
        for collection in (self.requests, self.auth_methods, self.issued_secrets, self._codes):
            collection.clear()

    def set_identity(self, **claims: object) -> str:
        """Assert a new identity with a verified e-mail and these claims from now on; return its `sub`."""
        sub = secrets.token_hex(16)
        self.claim_overrides = {
            "sub": sub,
            "email": f"{sub}@growfin.test",
            "email_verified": True,
            "name": "Mia Stone",
            **claims,
        }
        return sub

    def count_requests(self, path: str) -> int:
        return len([requested for requested, _ in self.requests if requested == path])

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    def _record(self, request: Request, parameters: dict[str, str]) -> None:
        self.requests.append((request.url.path, parameters))

    async def _configuration(self, request: Request) -> Response:
        self._record(request, {})
        if self.metadata_body is not None:
            return Response(self.metadata_body)
        metadata = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=1",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        return JSONResponse(metadata | self.metadata)

    async def _keys(self, request: Request) -> Response:
        self._record(request, {})
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.published]})

    async def _authorize(self, request: Request) -> Response:
        parameters = dict(request.query_params)
        self._record(request, parameters)
        code = secrets.token_urlsafe(16)
        self._codes[code] = parameters
        self.issued_secrets.append(code)
        back = {"code": code, "state": parameters["state"], **self.extra_callback_parameters}
        return RedirectResponse(f"{parameters['redirect_uri']}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        parameters = dict(parse_qsl((await request.body()).decode()))
        self._record(request, parameters)
        if self.token_response is not None:
            return self.token_response
        authorization = self._codes.pop(parameters["code"], None)
        if not self._is_authenticated(request, parameters):
            return JSONResponse({"error": "invalid_client"}, 401)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(parameters["code_verifier"].encode()).digest()).decode()
        if (
            authorization is None
            or challenge.rstrip("=") != authorization["code_challenge"]
            or authorization["redirect_uri"] != parameters["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant", "error_description": parameters["code"]}, 400)
        access_token, id_token = secrets.token_urlsafe(16), self._id_token(authorization["nonce"])
        self.issued_secrets += [access_token, id_token]
        correct = {"access_token": access_token, "token_type": "Bearer", "id_token": id_token}
        return JSONResponse(correct | self.token_overrides)

    def _is_authenticated(self, request: Request, parameters: dict[str, str]) -> bool:
        header = request.headers.get("authorization", "")
        if header.startswith("Basic "):
            self.auth_methods.append("client_secret_basic")
            credentials = [unquote(part) for part in base64.b64decode(header[6:]).decode().split(":")]
        else:
            self.auth_methods.append("client_secret_post")
            credentials = [parameters.get("client_id", ""), parameters.get("client_secret", "")]
        return credentials == [CLIENT_ID, CLIENT_SECRET]

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        correct = {"iss": self.url, "aud": CLIENT_ID, "sub": "1", "iat": now, "exp": now + 300, "nonce": nonce}
        claims = {name: value for name, value in (correct | self.claim_overrides).items() if value is not None}
        return self.sign_override(claims) if self.sign_override else sign_token(claims, self.key)

    async def _userinfo(self, request: Request) -> Response:
        self._record(request, {})
        assert request.headers["authorization"].removeprefix("Bearer ") in self.issued_secrets
        return JSONResponse(self.userinfo)


def create_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def sign_token(claims: JSON, key: RSAKey, **header: object) -> str:
    """Sign claims with this key."""
    return jwt.encode({"alg": "RS256", "kid": str(key.kid), **header}, claims, key)


def build_token(claims: object, header: JSON, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """Build a token with any claims, header and signature."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    signed_part = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed_part}.{part(sign(signed_part.encode()))}"


@contextmanager
def running_provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    listener = socket.create_server(("127.0.0.1", 0))
    provider.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    provider.reset()
    config = uvicorn.Config(provider.app, log_config=None, access_log=False, lifespan="off", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield provider
    finally:
        running.should_exit = True
        thread.join(10)
        listener.close()

"""OpenID Connect providers on loopback, one of which lies as it is told, and a browser that goes there and back."""

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
from tests.desks import JSON, Desk
from tests.postgres import TestServer
from tests.services import ADDRESS, Service

CLIENT_ID, CLIENT_SECRET = "tessera", "a client's s3cret: 100%"
PUBLIC_URL = "http://tessera.test"


def settings_of(issuer: str, **more: str) -> JSON:
    """How a service is told of a provider."""
    return {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **more}


@asynccontextmanager
async def a_service(server: TestServer, **issuers: str) -> AsyncIterator[Service]:
    """A service with these providers."""
    providers = {name: settings_of(issuer) for name, issuer in issuers.items()}
    app = create_app(settings_for(server, oidc_providers=providers, public_url=PUBLIC_URL))
    async with LifespanManager(app):
        yield Service(app)


def parameters(url: str) -> dict[str, str]:
    """What an address says after its question mark."""
    return dict(parse_qsl(urlsplit(url).query))


def fragment(answer: httpx.Response) -> dict[str, str]:
    """What a redirect says after its hash."""
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).fragment))


@dataclass
class Browser:
    """Somebody's, with cookies of its own."""

    service: Service
    desk: Desk
    provider: str = "mock"
    tessera: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.tessera = self.service.at(ADDRESS)

    async def start(self, **wanted: str) -> httpx.Response:
        query = {"org": self.desk.domain, **wanted}
        return await self.tessera.get(f"/auth/oidc/{self.provider}/start", params=query)

    async def go(self, sub: str, **wanted: str) -> str:
        """Sign in at the provider; gives the address that it sends the browser back to."""
        begun = await self.start(**wanted)
        assert begun.status_code == 302, begun.text
        async with httpx.AsyncClient() as web:
            form = await web.get(begun.headers["location"])
            back = form if form.is_redirect else await web.post(begun.headers["location"], data={"sub": sub})
        assert back.status_code == 302, back.text
        address: str = back.headers["location"]
        assert address.startswith(f"{PUBLIC_URL}/auth/oidc/{self.provider}/callback?")
        return address

    async def come_back(self, address: str) -> httpx.Response:
        return await self.tessera.get(address)

    async def sign_in(self, sub: str = "", **wanted: str) -> httpx.Response:
        """All the way there and back."""
        return await self.come_back(await self.go(sub, **wanted))

    async def exchange(self, token: str, **more: object) -> httpx.Response:
        return await self.tessera.post("/auth/oidc/exchange", json={"token": token, **more})


async def an_account(issuer: str, **claims: object) -> str:
    subject = uuid4().hex
    said = {"email": f"{subject}@growfin.test", "email_verified": True, **claims}
    async with httpx.AsyncClient() as web:
        assert (await web.put(f"{issuer}/users/{subject}", json=said)).is_success
    return subject


def email_of(subject: str) -> str:
    return f"{subject}@growfin.test"


async def count(desk: Desk) -> int:
    async with desk.database.session(desk.id) as db:
        return await db.scalar(select(func.count()).select_from(UserRow).where(UserRow.org_id == desk.id)) or 0


def cookies(browser: Browser) -> list[str]:
    return [name for name in browser.tessera.cookies if name.startswith("tessera_oidc_")]


@dataclass
class OwnProvider:
    """A provider that vouches for whatever it is told to, but checks what clients send as it should."""

    url: str = ""
    first: RSAKey = field(default_factory=lambda: a_key("one"))
    key: RSAKey = field(init=False)
    published: list[RSAKey] = field(default_factory=list)
    metadata: JSON = field(default_factory=dict)
    claims: JSON = field(default_factory=dict)  # in place of, or besides, the right ones; None leaves one out
    userinfo: JSON | None = None
    sign: Callable[[JSON], str] | None = None  # in place of the right signature
    answered: JSON = field(default_factory=dict)  # besides code and state
    tokens: JSON = field(default_factory=dict)  # in place of the right ones
    garbled: str | None = None  # in place of the metadata
    refusing: Response | None = None  # by the token endpoint, instead of everything
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    authenticated: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)  # codes and tokens
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def reset(self) -> None:
        """Be honest again."""
        self.key, self.published = self.first, [self.first]
        self.metadata, self.claims, self.answered, self.tokens = {}, {}, {}, {}
        self.userinfo, self.sign, self.refusing, self.garbled = None, None, None, None
        for kept in (self.asked, self.authenticated, self.given, self._codes):
            kept.clear()

    def vouch(self, **claims: object) -> str:
        """Say this of somebody new, who has a verified e-mail; gives their `sub`."""
        sub = secrets.token_hex(16)
        self.claims = {
            "sub": sub,
            "email": f"{sub}@growfin.test",
            "email_verified": True,
            "name": "Mia Stone",
            **claims,
        }
        return sub

    def times_asked(self, path: str) -> int:
        return len([asked for asked, _ in self.asked if asked == path])

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

    def _note(self, request: Request, said: dict[str, str]) -> None:
        self.asked.append((request.url.path, said))

    async def _configuration(self, request: Request) -> Response:
        self._note(request, {})
        if self.garbled is not None:
            return Response(self.garbled)
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=1",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        return JSONResponse(said | self.metadata)

    async def _keys(self, request: Request) -> Response:
        self._note(request, {})
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.published]})

    async def _authorize(self, request: Request) -> Response:
        said = dict(request.query_params)
        self._note(request, said)
        code = secrets.token_urlsafe(16)
        self._codes[code] = said
        self.given.append(code)
        back = {"code": code, "state": said["state"], **self.answered}
        return RedirectResponse(f"{said['redirect_uri']}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        said = dict(parse_qsl((await request.body()).decode()))
        self._note(request, said)
        if self.refusing is not None:
            return self.refusing
        asked = self._codes.pop(said["code"], None)
        if not self._knows(request, said):
            return JSONResponse({"error": "invalid_client"}, 401)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(said["code_verifier"].encode()).digest()).decode()
        if (
            asked is None
            or challenge.rstrip("=") != asked["code_challenge"]
            or asked["redirect_uri"] != said["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant", "error_description": said["code"]}, 400)
        access_token, id_token = secrets.token_urlsafe(16), self._id_token(asked["nonce"])
        self.given += [access_token, id_token]
        right = {"access_token": access_token, "token_type": "Bearer", "id_token": id_token}
        return JSONResponse(right | self.tokens)

    def _knows(self, request: Request, said: dict[str, str]) -> bool:
        header = request.headers.get("authorization", "")
        if header.startswith("Basic "):
            self.authenticated.append("client_secret_basic")
            given = [unquote(part) for part in base64.b64decode(header[6:]).decode().split(":")]
        else:
            self.authenticated.append("client_secret_post")
            given = [said.get("client_id", ""), said.get("client_secret", "")]
        return given == [CLIENT_ID, CLIENT_SECRET]

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        right = {"iss": self.url, "aud": CLIENT_ID, "sub": "1", "iat": now, "exp": now + 300, "nonce": nonce}
        claims = {name: value for name, value in (right | self.claims).items() if value is not None}
        return self.sign(claims) if self.sign else signed(claims, self.key)

    async def _userinfo(self, request: Request) -> Response:
        self._note(request, {})
        assert request.headers["authorization"].removeprefix("Bearer ") in self.given
        return JSONResponse(self.userinfo)


def a_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def signed(claims: JSON, key: RSAKey, **header: object) -> str:
    """A token with a good signature of this key."""
    return jwt.encode({"alg": "RS256", "kid": str(key.kid), **header}, claims, key)


def unsigned(claims: object, header: JSON, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """A token with whatever for a signature."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    said = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
    return f"{said}.{part(sign(said.encode()))}"


@contextmanager
def an_own_provider() -> Iterator[OwnProvider]:
    provider = OwnProvider()
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

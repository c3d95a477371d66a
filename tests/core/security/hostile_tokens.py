"""Access tokens that are signed by hand, and hostile ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import uuid4

KEY = "tests-only-VrZ3kq8WmT1xuYbE6hNsLoJ0cDf7gPa"
SIGNING_KEY = hmac.digest(KEY.encode(), b"access token", "sha256")
USER, ORG, SESSION = uuid4(), uuid4(), uuid4()
CLAIMS = ("iss", "aud", "sub", "org", "typ", "iat", "exp", "jti")


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(
    header: object | None = None,
    others: Mapping[str, object] = MappingProxyType({}),
    *,
    key: bytes = SIGNING_KEY,
    digest: Any = hashlib.sha256,
    **changes: object,
) -> str:
    """Make a token without the library that verifies it. A claim set to `...` is left out."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": "tessera", "aud": "tessera-api", "sub": str(USER), "org": str(ORG), "sid": str(SESSION),
        "role": "ADMIN", "typ": "access", "iat": now, "exp": now + 60, "jti": str(uuid4()),
    }  # fmt: skip
    kept = {name: value for name, value in (claims | dict(others) | changes).items() if value is not ...}
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{part(kept)}"
    return f"{signed}.{part(hmac.new(key, signed.encode(), digest).digest())}"


def hostile_tokens() -> dict[str, str]:
    """Return forged and malformed tokens, by what is wrong with them."""
    whole = token()
    head, claims, signature = whole.split(".")
    past = int(time.time()) - 1
    nested = b'{"alg":' + b"[" * 6000 + b"]" * 6000 + b"}"
    return {
        "no algorithm": f"{part({'alg': 'none'})}.{claims}.",
        "no algorithm, oddly written": f"{part({'alg': 'nOnE'})}.{claims}.{signature}",
        "another key length": token({"alg": "HS512"}, digest=hashlib.sha512),
        "another algorithm than its signature": token({"alg": "HS384"}),
        "an algorithm with public keys": token({"alg": "RS256"}),
        "an elliptic curve algorithm": token({"alg": "ES256"}),
        "no alg": token({"typ": "JWT"}),
        "alg is a number": token({"alg": 5}),
        "a header that is a list": token(["HS256"]),
        "a header that is no JSON": token(b"{"),
        "a header nested 6,000 deep": f"{part(nested)}.{claims}.{signature}",
        "claims nested 6,000 deep": f"{head}.{part(nested)}.{signature}",
        "the secret key itself": token(key=KEY.encode()),
        "another key": token(key=SIGNING_KEY[::-1]),
        "an empty key": token(key=b""),
        "a key in its own header": token({"alg": "HS256", "jwk": {"kty": "oct", "k": part(b"x")}}, key=b"x"),
        "no signature": f"{head}.{claims}.",
        "half a signature": whole[:-10],
        "other claims": f"{head}.{part({'sub': str(USER)})}.{signature}",
        "expired": token(exp=past, iat=past - 60),
        "expired long ago": token(exp=-(10**18)),
        "valid later": token(nbf=int(time.time()) + 60),
        "exp is a text": token(exp="tomorrow"),
        "exp is infinite": token(exp=float("inf")),
        **{f"without {name}": token(None, {name: ...}) for name in CLAIMS},
        **{f"{name} is null": token(None, {name: None}) for name in CLAIMS},
        "another issuer": token(iss="tesser"),
        "another audience": token(aud="tessera"),
        "another type": token(typ="refresh"),
        "sub is no id": token(sub="ada"),
        "sub is a number": token(sub=5),
        "org is no id": token(org="growfin"),
        "sid is no id": token(sid="1"),
        "without a session": token(sid=...),
        "jti is a list": token(jti=[str(uuid4())]),
        "not a token": "hunter2",
        "dots": "..",
        "five parts": "a.b.c.d.e",
        "empty": "",
        "not ASCII": "é.ü.ö",
        "NUL": whole + "\0",
        "30,000 characters": "a" * 10_000 + "." + "b" * 10_000 + "." + "c" * 10_000,
    }  # fmt: skip

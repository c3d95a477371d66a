"""Secrets, tokens and passwords."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.expiring_cache import ExpiringCache
from app.core.security import passwords as security
from app.core.security.access_tokens import InvalidToken, issue_access_token, read_access_token
from app.core.security.passwords import (
    MAX_RUNNING_HASHES,
    MAX_WAITING_HASHES,
    derive_salt,
    find_password_weakness,
    hash_password,
    match_hashes,
)
from app.core.security.secret_keys import generate_secret_key, hash_secret_key, is_secret_key
from app.core.threads import Busy

SALT = os.urandom(16)
KEY = "a-key-that-only-these-tests-have-0123456789"
PERSON, ORG = uuid4(), uuid4()
SESSION = uuid4()
CLAIMS = ("iss", "aud", "sub", "org", "typ", "iat", "exp", "jti")


class TestSecrets:
    def test_one_is_a_prefix_and_48_base62_characters(self) -> None:
        secrets = {generate_secret_key() for _ in range(100)}
        assert len(secrets) == 100
        for secret in secrets:
            assert secret.startswith("tsk_")
            assert len(secret) == 52
            assert secret[4:].isalnum()
            assert secret.isascii()
            assert is_secret_key(secret)

    def test_any_single_mistake_in_one_is_noticed(self) -> None:
        secret = generate_secret_key()
        for place in range(len(secret)):
            for other in "0Az-é":
                if secret[place] != other:
                    assert not is_secret_key(secret[:place] + other + secret[place + 1 :])
        for pair in range(4, 51):
            swapped = secret[:pair] + secret[pair + 1] + secret[pair] + secret[pair + 2 :]
            assert swapped == secret or not is_secret_key(swapped)

    @settings(max_examples=50, deadline=None)
    @given(st.one_of(st.text(max_size=60), st.text(min_size=48, max_size=48).map("tsk_".__add__)))
    def test_no_other_text_is_one(self, text: str) -> None:
        assert not is_secret_key(text)

    def test_what_is_stored_of_one_is_its_sha_256(self) -> None:
        assert hash_secret_key("tsk_x") == hashlib.sha256(b"tsk_x").digest()


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(
    header: object | None = None,
    others: Mapping[str, object] = MappingProxyType({}),
    *,
    key: str = KEY,
    digest: Any = hashlib.sha256,
    **changes: object,
) -> str:
    """A token signed by hand: nothing here trusts the library that checks it. A claim set to `...` is left out."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": "tessera", "aud": "tessera-api", "sub": str(PERSON), "org": str(ORG), "sid": str(SESSION),
        "role": "ADMIN", "typ": "access", "iat": now, "exp": now + 60, "jti": str(uuid4()),
    }  # fmt: skip
    kept = {name: value for name, value in (claims | dict(others) | changes).items() if value is not ...}
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{part(kept)}"
    return f"{signed}.{part(hmac.new(key.encode(), signed.encode(), digest).digest())}"


def issued(now: datetime) -> str:
    return issue_access_token(KEY, user_id=PERSON, org_id=ORG, session_id=SESSION, role="ADMIN", now=now)


def hostile_tokens() -> dict[str, str]:
    """Tokens that somebody may try, by what is wrong with them."""
    whole = token()
    head, claims, signature = whole.split(".")
    past = int(time.time()) - 1
    nested = b'{"alg":' + b"[" * 6000 + b"]" * 6000 + b"}"
    return {
        "no algorithm": f"{part({'alg': 'none'})}.{claims}.",
        "no algorithm, oddly written": f"{part({'alg': 'nOnE'})}.{claims}.{signature}",
        "another strength": token({"alg": "HS512"}, digest=hashlib.sha512),
        "a strength that its signature has not": token({"alg": "HS384"}),
        "the key taken for a public one": token({"alg": "RS256"}),
        "elliptic": token({"alg": "ES256"}),
        "no alg": token({"typ": "JWT"}),
        "alg is a number": token({"alg": 5}),
        "a header that is a list": token(["HS256"]),
        "a header that is no JSON": token(b"{"),
        "a header nested 6,000 deep": f"{part(nested)}.{claims}.{signature}",
        "claims nested 6,000 deep": f"{head}.{part(nested)}.{signature}",
        "another key": token(key=KEY[::-1]),
        "an empty key": token(key=""),
        "a key set of its own": token({"alg": "HS256", "jwk": {"kty": "oct", "k": part(b"x")}}, key="x"),
        "no signature": f"{head}.{claims}.",
        "half a signature": whole[:-10],
        "other claims": f"{head}.{part({'sub': str(PERSON)})}.{signature}",
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


class TestTokens:
    def test_one_says_who_it_is_for_half_an_hour(self) -> None:
        now = datetime.now(UTC)
        claims = read_access_token(KEY, issued(now))
        assert (claims.user_id, claims.org_id) == (PERSON, ORG)
        assert claims.expires_at == int((now + timedelta(minutes=30)).timestamp())

    def test_one_that_is_signed_by_hand_is_good_too(self) -> None:
        assert read_access_token(KEY, token()).user_id == PERSON

    def test_no_two_are_the_same(self) -> None:
        now = datetime.now(UTC)
        tokens = {issued(now) for _ in range(5)}
        assert len(tokens) == 5

    def test_one_is_not_good_for_longer(self) -> None:
        old = issue_access_token(
            KEY,
            user_id=PERSON,
            org_id=ORG,
            session_id=SESSION,
            role="ADMIN",
            now=datetime.now(UTC) - timedelta(minutes=30),
        )
        with pytest.raises(InvalidToken):
            read_access_token(KEY, old)

    @pytest.mark.parametrize("wrong", hostile_tokens())
    def test_a_hostile_one_is_refused(self, wrong: str) -> None:
        with pytest.raises(InvalidToken):
            read_access_token(KEY, hostile_tokens()[wrong])


class TestPasswords:
    @pytest.mark.parametrize(
        "password",
        ["password", "PASSWORD1", "12345678", "qwertyuiop", "iloveyou", "aaaaaaaaaaaa", "abababababab", "letmein1"],
    )
    def test_common_ones_are_weak(self, password: str) -> None:
        assert find_password_weakness(password)

    @pytest.mark.parametrize(
        "password",
        [
            "growfin1",
            "GrowFin!",
            "123growfin",
            "growfin.com",
            "ada.byron@growfin.com",
            "Ada.Byron1",
            "xLovelace9",
            " Growfin  ",
            "G.r.o.w.f.i.n",
        ],
    )
    def test_what_everybody_knows_is_weak(self, password: str) -> None:
        assert find_password_weakness(password, "ada.byron@growfin.com", "Growfin", "growfin.com", "Ada", "Lovelace")

    @pytest.mark.parametrize(
        "password", ["cobalt-heron-47-lamp", "growfin has 3 lamps", "наш пароль 7", "🦩🪔🐢🌵 ok?"]
    )
    def test_others_are_not(self, password: str) -> None:
        assert find_password_weakness(password, "ada@growfin.com", "Growfin", "growfin.com", "Ada", "Lovelace") is None

    async def test_what_is_stored_is_argon2id_with_64_mib_and_a_salt(self) -> None:
        first, second = await asyncio.gather(
            *(hash_password("cobalt-heron-47-lamp", salt) for salt in (SALT, os.urandom(16)))
        )
        assert first.startswith("$argon2id$v=19$m=65536,")
        assert first != second

    async def test_the_same_characters_fit_however_they_were_typed(self) -> None:
        hashed = await hash_password("Zoë und Åsa", SALT)
        assert await match_hashes("Zoe\u0308 und A\u030asa", [hashed]) == {hashed}
        assert await match_hashes("Zoe und Asa", [hashed]) == set()

    async def test_all_of_one_salt_are_compared_at_once_and_those_of_another_too(self) -> None:
        passwords = [f"cobalt-heron-{n}" for n in range(3)]
        mine = [await hash_password(password, SALT) for password in passwords]
        other = await hash_password(passwords[1], os.urandom(16))
        assert await match_hashes(passwords[1], [*mine, other]) == {mine[1], other}

    def test_an_e_mail_has_one_salt_that_the_key_decides(self) -> None:
        assert derive_salt("key", "ada@growfin.com") == derive_salt("key", "ada@growfin.com")
        others = {derive_salt("key", "bo@growfin.com"), derive_salt("another", "ada@growfin.com")}
        assert len(others | {derive_salt("key", "ada@growfin.com")}) == 3

    @pytest.mark.parametrize("password", ["nul\0inside", "\ufb2c" * 1024], ids=["nul", "3,072 when normalised"])
    async def test_odd_ones_can_be_compared_with_no_hash_too(self, password: str) -> None:
        assert await match_hashes(password, []) == set()


class Gate:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.opened, self.is_full = threading.Event(), threading.Event()
        self.running = self.most = 0
        self._lock = threading.Lock()

    def work(self) -> bool:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            if self.running == MAX_RUNNING_HASHES:
                self.is_full.set()
        self.opened.wait(10)
        with self._lock:
            self.running -= 1
        return True


class TestHashing:
    async def test_two_at_once_off_the_loop_some_waiting_and_the_next_is_refused(self) -> None:
        gate = Gate()
        tasks = [
            asyncio.create_task(security._threads.run(gate.work))
            for _ in range(MAX_RUNNING_HASHES + MAX_WAITING_HASHES)
        ]
        try:
            assert await asyncio.to_thread(gate.is_full.wait, 5), "the loop still turns, and two are at work"
            async with asyncio.timeout(5):
                with pytest.raises(Busy):
                    await match_hashes("cobalt-heron-47-lamp", [])
                with pytest.raises(Busy):
                    await hash_password("cobalt-heron-47-lamp", SALT)
        finally:
            gate.opened.set()
            assert all(await asyncio.gather(*tasks))
        assert gate.most == MAX_RUNNING_HASHES == 2
        assert not await match_hashes("cobalt-heron-47-lamp", []), "there is room again"

    async def test_who_gives_up_waiting_leaves_room(self) -> None:
        gate = Gate()
        tasks = [
            asyncio.create_task(security._threads.run(gate.work))
            for _ in range(MAX_RUNNING_HASHES + MAX_WAITING_HASHES)
        ]
        assert await asyncio.to_thread(gate.is_full.wait, 5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate.opened.set()
        assert not await match_hashes("cobalt-heron-47-lamp", [])
        assert gate.most == MAX_RUNNING_HASHES


class TestRemembered:
    def test_it_lasts_as_long_as_it_says(self) -> None:
        remembered: ExpiringCache[str] = ExpiringCache(seconds=0.05, size=10)
        remembered.put("a", "b")
        assert remembered.get("a") == "b"
        time.sleep(0.06)
        assert remembered.get("a") is None

    def test_looking_does_not_make_it_last(self) -> None:
        remembered: ExpiringCache[str] = ExpiringCache(seconds=0.1, size=10)
        remembered.put("a", "b")
        until_then = time.monotonic() + 0.11
        while time.monotonic() < until_then:
            remembered.get("a")
            time.sleep(0.01)
        assert remembered.get("a") is None

    def test_the_oldest_goes_when_there_are_too_many(self) -> None:
        remembered: ExpiringCache[int] = ExpiringCache(seconds=10, size=2)
        for number in range(3):
            remembered.put(number, number)
        assert [remembered.get(number) for number in range(3)] == [None, 1, 2]

    def test_it_can_be_forgotten(self) -> None:
        remembered: ExpiringCache[int] = ExpiringCache(seconds=10, size=5)
        for number in range(3):
            remembered.put(number, number)
        remembered.discard(lambda key, value: key == value == 1)
        assert [remembered.get(number) for number in range(3)] == [0, None, 2]

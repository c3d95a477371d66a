"""The hashes and salts of passwords, and the limit on concurrent hashing."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from app.core.security import password_hashing
from app.core.security.password_hashing import (
    MAX_RUNNING_HASHES,
    MAX_WAITING_HASHES,
    derive_salt,
    hash_password,
    match_hashes,
)
from app.core.threads import Busy

SALT = os.urandom(16)


async def test_the_stored_hash_is_argon2id_with_64_mib_and_a_salt() -> None:
    first, second = await asyncio.gather(
        *(hash_password("cobalt-heron-47-lamp", salt) for salt in (SALT, os.urandom(16)))
    )
    assert first.startswith("$argon2id$v=19$m=65536,")
    assert first != second


async def test_composed_and_decomposed_characters_match() -> None:
    hashed = await hash_password("Zoë und Åsa", SALT)
    assert await match_hashes("Zoe\u0308 und A\u030asa", [hashed]) == {hashed}
    assert await match_hashes("Zoe und Asa", [hashed]) == set()


async def test_hashes_of_several_salts_are_matched_in_one_call() -> None:
    passwords = [f"cobalt-heron-{n}" for n in range(3)]
    mine = [await hash_password(password, SALT) for password in passwords]
    other = await hash_password(passwords[1], os.urandom(16))
    assert await match_hashes(passwords[1], [*mine, other]) == {mine[1], other}


def test_the_salt_depends_on_the_email_and_the_secret_key() -> None:
    assert derive_salt("key", "ada@growfin.com") == derive_salt("key", "ada@growfin.com")
    others = {derive_salt("key", "bo@growfin.com"), derive_salt("another", "ada@growfin.com")}
    assert len(others | {derive_salt("key", "ada@growfin.com")}) == 3


@pytest.mark.parametrize("password", ["nul\0inside", "\ufb2c" * 1024], ids=["nul", "3,072 when normalised"])
async def test_unusual_passwords_match_no_hash_without_an_error(password: str) -> None:
    assert await match_hashes(password, []) == set()


class BlockingWork:
    """Work that lasts until `opened` is set."""

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


async def test_hashing_runs_two_at_once_in_threads_and_refuses_calls_over_the_limit() -> None:
    gate = BlockingWork()
    tasks = [
        asyncio.create_task(password_hashing._threads.run(gate.work))
        for _ in range(MAX_RUNNING_HASHES + MAX_WAITING_HASHES)
    ]
    try:
        assert await asyncio.to_thread(gate.is_full.wait, 5), "the event loop runs, and two hashes are being computed"
        async with asyncio.timeout(5):
            with pytest.raises(Busy):
                await match_hashes("cobalt-heron-47-lamp", [])
            with pytest.raises(Busy):
                await hash_password("cobalt-heron-47-lamp", SALT)
    finally:
        gate.opened.set()
        assert all(await asyncio.gather(*tasks))
    assert gate.most == MAX_RUNNING_HASHES == 2
    assert not await match_hashes("cobalt-heron-47-lamp", []), "calls are accepted again"


async def test_a_cancelled_call_frees_its_place() -> None:
    gate = BlockingWork()
    tasks = [
        asyncio.create_task(password_hashing._threads.run(gate.work))
        for _ in range(MAX_RUNNING_HASHES + MAX_WAITING_HASHES)
    ]
    assert await asyncio.to_thread(gate.is_full.wait, 5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gate.opened.set()
    assert not await match_hashes("cobalt-heron-47-lamp", [])
    assert gate.most == MAX_RUNNING_HASHES

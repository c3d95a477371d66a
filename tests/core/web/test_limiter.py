"""Limits on attempts."""

from __future__ import annotations

import asyncio
import socket
from uuid import uuid4

import pytest

from app.core.errors import TooMany, Unavailable
from app.core.web.limiter import Limiter, get_network


@pytest.fixture
async def limiter() -> Limiter:
    return Limiter(None)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(address: str | None, network: str) -> None:
    assert get_network(address) == network


async def test_attempts_beyond_the_limit_are_refused_with_the_time_to_wait(limiter: Limiter) -> None:
    for _ in range(3):
        await limiter.count_or_refuse("3/minute", "a")
    with pytest.raises(TooMany) as refused:
        await limiter.count_or_refuse("3/minute", "a")
    assert 1 <= refused.value.retry_after <= 60


async def test_concurrent_attempts_are_all_counted(limiter: Limiter) -> None:
    outcomes = await asyncio.gather(
        *(limiter.count_or_refuse("3/minute", "a") for _ in range(20)), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 3
    assert all(outcome is None or isinstance(outcome, TooMany) for outcome in outcomes)


async def test_each_key_has_its_own_limit(limiter: Limiter) -> None:
    await limiter.count_or_refuse("1/minute", "a", "x")
    await limiter.count_or_refuse("1/minute", "a", "y")
    await limiter.count_or_refuse("1/minute", "b", "x")
    with pytest.raises(TooMany):
        await limiter.count_or_refuse("1/minute", "a", "x")


async def test_attempts_are_allowed_again_after_the_window(limiter: Limiter) -> None:
    await limiter.count_or_refuse("1/second", "a")
    with pytest.raises(TooMany) as refused:
        await limiter.count_or_refuse("1/second", "a")
    await asyncio.sleep(refused.value.retry_after + 1.1)
    await limiter.count_or_refuse("1/second", "a")


async def test_a_refund_leaves_earlier_attempts_counted(limiter: Limiter) -> None:
    await limiter.count_or_refuse("2/minute", "a")
    await limiter.count_or_refuse("2/minute", "a")
    await limiter.refund("2/minute", "a")
    assert not await limiter.is_used_up("2/minute", "a")
    await limiter.count_or_refuse("2/minute", "a")
    assert await limiter.is_used_up("2/minute", "a")
    with pytest.raises(TooMany):
        await limiter.count_or_refuse("2/minute", "a")


async def test_counting_never_refuses_an_attempt(limiter: Limiter) -> None:
    for _ in range(3):
        await limiter.count("2/minute", "a")
    assert await limiter.is_used_up("2/minute", "a")


async def test_an_address_is_known_only_for_the_account_that_signed_in_from_it(limiter: Limiter) -> None:
    account = uuid4().hex
    assert not await limiter.is_known_network(account, "192.0.2.7")
    await limiter.remember_network(account, "192.0.2.7")
    assert await limiter.is_known_network(account, "192.0.2.7")
    assert not await limiter.is_known_network(account, "192.0.2.8")
    assert not await limiter.is_known_network(uuid4().hex, "192.0.2.7")


async def test_attempts_are_refused_while_the_storage_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    limiter = Limiter(f"redis://127.0.0.1:{port}/0")
    for attempt in (
        limiter.count_or_refuse("3/minute", "a"),
        limiter.count("3/minute", "a"),
        limiter.refund("3/minute", "a"),
        limiter.is_used_up("3/minute", "a"),
        limiter.remember_network("a", "b"),
        limiter.is_known_network("a", "b"),
    ):
        with pytest.raises(Unavailable):
            await attempt

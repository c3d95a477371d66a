"""Access tokens: their claims and lifetime, and the refusal of hostile ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.core.security.access_tokens import InvalidToken, issue_access_token, read_access_token
from tests.core.security.hostile_tokens import KEY, ORG, SESSION, USER, hostile_tokens, token


def issue(now: datetime, session_lifetime: timedelta = timedelta(days=1)) -> str:
    return issue_access_token(
        KEY,
        user_id=USER,
        org_id=ORG,
        session_id=SESSION,
        role="ADMIN",
        now=now,
        session_expires_at=now + session_lifetime,
    )


def test_a_token_names_the_user_and_is_valid_for_half_an_hour() -> None:
    now = datetime.now(UTC)
    claims = read_access_token(KEY, issue(now))
    assert (claims.user_id, claims.org_id) == (USER, ORG)
    assert claims.expires_at == int((now + timedelta(minutes=30)).timestamp())


def test_a_token_expires_with_its_session() -> None:
    now = datetime.now(UTC)
    assert read_access_token(KEY, issue(now, timedelta(minutes=7))).expires_at == int(
        (now + timedelta(minutes=7)).timestamp()
    )


def test_a_token_signed_without_the_library_is_accepted() -> None:
    assert read_access_token(KEY, token()).user_id == USER


def test_tokens_issued_at_the_same_time_differ() -> None:
    now = datetime.now(UTC)
    tokens = {issue(now) for _ in range(5)}
    assert len(tokens) == 5


def test_an_expired_token_is_refused() -> None:
    old = issue(datetime.now(UTC) - timedelta(minutes=30))
    with pytest.raises(InvalidToken):
        read_access_token(KEY, old)


@pytest.mark.parametrize("wrong", hostile_tokens())
def test_a_hostile_token_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidToken):
        read_access_token(KEY, hostile_tokens()[wrong])

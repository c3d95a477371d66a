"""How often codes may be guessed at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.access.attempts import Attempts
from app.access.callers import Principal
from app.accounts.users.models import User
from app.authentication.second_factor.service import CodeRefused, Proof, WrongCode


@asynccontextmanager
async def guessing(attempts: Attempts, user: User | Principal, proof: Proof) -> AsyncIterator[None]:
    """Count what is tried within as a wrong guess of this user's, unless that is not what it turns out to be.

    It is entered before the transaction, so that of many guesses at the same moment no more are looked at than may be.

    Raises:
        TooMany
    """
    if not proof.is_given:
        yield
        return
    async with attempts.guess(user.id, failure=(WrongCode, CodeRefused)):
        yield

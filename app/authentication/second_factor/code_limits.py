"""How often codes may be guessed at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.access.attempts import Attempts
from app.access.callers import Principal
from app.accounts.users.models import User
from app.authentication.second_factor.service import CodeRefused, Proof, WrongCode


@asynccontextmanager
async def counting_attempts(attempts: Attempts, user: User | Principal, proof: Proof) -> AsyncIterator[None]:
    """Count the block as a wrong code of the user if the code is refused.

    Enter it before the transaction: of many guesses at the same moment, only as many as the limit allows are compared.

    Raises:
        TooMany
    """
    if not proof.is_given:
        yield
        return
    async with attempts.counting_code(user.id, failure=(WrongCode, CodeRefused)):
        yield

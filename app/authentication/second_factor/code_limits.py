"""Limit how often the codes of a second factor may be guessed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.access.attempt_limits import Attempts
from app.access.callers import Principal
from app.accounts.users.models import User
from app.authentication.second_factor.errors import CodeRefused, WrongCode
from app.authentication.second_factor.service import SubmittedCode


@asynccontextmanager
async def counting_attempts(attempts: Attempts, user: User | Principal, code: SubmittedCode) -> AsyncIterator[None]:
    """Count the block as a wrong code of the user if the code is refused.

    Enter it before the transaction: of many concurrent guesses, only as many as the limit allows are then compared.

    Raises:
        TooMany
    """
    if not code.is_given:
        yield
        return
    async with attempts.counting_code(user.id, failure=(WrongCode, CodeRefused)):
        yield
